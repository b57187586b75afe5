"""Every hardware entry that ships, and what a hardware file must not say."""

from fractions import Fraction
from pathlib import Path

import pytest

from optimizer.domain.hardware import HardwareSpec, Tier
from optimizer.errors import SpecError
from optimizer.readers.document import load, load_text, parse

DIRECTORY = Path(__file__).parents[2] / "problems" / "hardware"
FILES = sorted(DIRECTORY.glob("*.yaml"))
PROVENANCE = ("fitted to ", "assumed", "datasheet", "measured", "stated")

SMALL = """
name: small
device:
  name: small
  memory: 80 GB
  exposed_memory: {exposed}
  bandwidth: 1 TB/s
  peak: {peak}
devices_per_node: 8
tiers:
  - {{name: node, size: {size}, bandwidth: 448 GB/s, mesh: {mesh}, oversubscription: {over},
     latency: {{value: 2 us, source: assumed}}, efficiency: {{value: {share}, source: assumed}}}}
  - {{name: fabric, bandwidth: 400 Gb/s,
     latency: {{value: 5 us, source: assumed}}, efficiency: {{value: 0.8, source: assumed}}}}
efficiency:
  compute: {{bf16: {{value: 0.7, source: assumed}}}}
  hbm: {{value: 0.7, source: assumed}}
  attention_hbm: {{value: 0.7, source: assumed}}
  attention_compute: {{value: 0.5, source: assumed}}
  launch: {{value: 3 us, source: assumed}}
"""
GOOD = {"exposed": "79 GB", "peak": "{bf16: 400 TFLOP/s}", "size": "8", "mesh": "false", "over": "1", "share": "0.7"}


def read(path: Path) -> HardwareSpec:
    return parse(HardwareSpec, load(path))


def small(**changes: str) -> HardwareSpec:
    return parse(HardwareSpec, load_text(SMALL.format(**(GOOD | changes)), "small.yaml"))


def test_at_least_35_entries_ship() -> None:
    assert len(FILES) >= 35


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_entry_loads_under_its_own_name(path: Path) -> None:
    assert read(path).name == path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_entry_says_where_its_numbers_come_from(path: Path) -> None:
    hardware = read(path)
    assert len(hardware.source) > 15
    table = hardware.efficiency
    shares = [*table.compute.values(), table.hbm, table.attention_hbm, table.attention_compute, table.launch]
    shares += [tier.latency for tier in hardware.tiers] + [tier.efficiency for tier in hardware.tiers]
    for share in shares:
        assert share.source.startswith(PROVENANCE), share.source
    text = path.read_text()
    assert "/work" not in text
    assert "/home" not in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_entry_is_within_physical_reason(path: Path) -> None:
    hardware = read(path)
    device = hardware.device
    assert Fraction(9, 10) <= Fraction(device.exposed_memory, device.memory) <= 1
    assert 200 * 10**9 <= device.bandwidth <= 10**13
    assert 10**14 <= device.peak["bf16"] <= 3 * 10**15
    assert device.peak.get("fp8", device.peak["bf16"]) >= device.peak["bf16"]
    assert device.peak.get("fp4", device.peak["bf16"]) >= device.peak["bf16"]
    assert set(hardware.efficiency.compute) == set(device.peak)
    assert Fraction(1, 10**6) <= hardware.efficiency.launch.value <= Fraction(1, 10**5)
    if device.price is not None:
        assert Fraction(1, 10) <= device.price <= 20
        assert "price" in hardware.source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_links_slow_down_outwards(path: Path) -> None:
    rates = [tier.bandwidth / tier.oversubscription for tier in read(path).tiers]
    assert rates == sorted(rates, reverse=True)


def test_capacities_are_the_measured_ones() -> None:
    exposed = {path.stem: read(path).device.exposed_memory for path in FILES}
    gib = 2**30
    assert exposed["h100-sxm-8"] == pytest.approx(79.19 * gib, rel=1e-4)
    assert exposed["h200-sxm-8"] == pytest.approx(139.8 * gib, rel=1e-4)
    assert exposed["mi300x-8"] == pytest.approx(191.98 * gib, rel=1e-4)
    assert exposed["gb200-nvl72"] == 189471 * 2**20
    assert exposed["seed-64gb"] == 64 * 10**9


def test_peaks_are_dense() -> None:
    peak = {path.stem: read(path).device.peak for path in FILES}
    assert peak["h100-sxm-8"]["bf16"] == 989 * 10**12
    assert peak["b200-sxm-8"]["fp4"] == 9 * 10**15
    assert peak["b300-sxm-8"]["int8"] < peak["b300-sxm-8"]["bf16"]


def test_pair_in_a_mesh_has_one_link_of_seven() -> None:
    tier = read(DIRECTORY / "mi300x-8.yaml").tiers[0]
    assert tier.bandwidth * tier.share(2) == 64 * 10**9
    assert tier.bandwidth * tier.share(8) == 448 * 10**9
    assert read(DIRECTORY / "h100-sxm-8.yaml").tiers[0].share(2) == 1


def test_small_hardware_loads() -> None:
    assert isinstance(small().tiers[0], Tier)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposed": "81 GB"}, "exposed_memory of 81000000000 bytes is more than the memory of 80000000000 bytes"),
        ({"exposed": "0"}, "must be at least 1"),
        ({"peak": "{fp8: 800 TFLOP/s}"}, "peak needs a bf16 entry"),
        ({"size": "1", "mesh": "true"}, "a mesh, which needs a size of at least 2"),
        ({"over": "0.5"}, "oversubscription is 1/2:1"),
        ({"share": "0"}, "must be more than 0"),
        ({"share": "1.2"}, "too large"),
    ],
)
def test_impossible_hardware_is_refused_with_its_place(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        small(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("small.yaml:")


def test_tiers_must_nest() -> None:
    text = SMALL.format(**GOOD).replace(
        "  - {name: fabric",
        "  - {name: pod, size: 12, bandwidth: 400 Gb/s, latency: {value: 5 us, source: assumed},"
        " efficiency: {value: 0.8, source: assumed}}\n  - {name: fabric",
    )
    with pytest.raises(SpecError, match="does not consist of whole domains of 8"):
        parse(HardwareSpec, load_text(text, "small.yaml"))
