import json
import re
from collections import Counter
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run as shardproof
from optimizer.domain.layout import Layout
from optimizer.errors import SpecError
from optimizer.figures.rates import effective_rates
from optimizer.readers.document import load_text
from optimizer.readers.read import Override, read_problem
from optimizer.report.experts import levels, png
from optimizer.report.html import page
from optimizer.report.html_layout import replica_starts, seats
from optimizer.report.html_map import survey
from optimizer.report.html_parts import element, four_digits
from optimizer.report.step_time import LAUNCH, LINK, step_parts
from optimizer.report.subject import Subject, read_subject
from optimizer.solve import solve

VOID = {"meta", "link", "img", "input", "br"}
STEPS = ("llama-3.1-405b-h100-16", "deepseek-v3-h200-32", "deepseek-v3-decode-mtp-h800-144")


def subject(name: str, changes: list[Override] | None = None, *, check: bool = False, **more: Any) -> Subject:
    document = solve(read_problem(name, changes or ())).to_json() | more
    text = json.dumps(document)
    return read_subject(load_text(text), certify(document) if check else None)


class Reader(HTMLParser):
    """Tags that balance, ids, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.fetched: list[str] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href") and not (value or "").startswith("data:"):
                self.fetched.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


@pytest.mark.parametrize("name", ["llama-3.1-405b-h100-16", "deepseek-v3-h200-32", "llama-3.1-8b-l4-1"])
def test_page_is_whole_and_fetches_nothing(name: str) -> None:
    text = page(subject(name, check=True))
    reader = read(text)
    assert reader.open == []
    assert max(reader.ids.values()) == 1
    assert reader.fetched == []
    assert "url(" not in text
    assert {"layout", "memory", "time", "map", "search", "certificate", "figures"} <= set(reader.ids)
    assert "certificate accepted" in text


def test_page_of_an_infeasible_result_says_so() -> None:
    text = page(subject(_infeasible(), check=True))
    assert read(text).open == []
    assert "No layout keeps every limit." in text
    assert "certificate accepted" in text


def _infeasible() -> str:
    folder = Path(__file__).parents[2] / "problems" / "scenarios" / "infeasible"
    return str(min(folder.glob("memory-*.yaml")))


def test_a_rejected_certificate_is_shown_as_such() -> None:
    document = solve(read_problem("llama-3.1-8b-l4-1")).to_json()
    document["certificate"]["figures"]["memory_bytes"] += 1
    text = page(read_subject(load_text(json.dumps(document)), certify(document)))
    assert "certificate rejected" in text
    assert "rejected: certificate.figures.memory_bytes" in text


def test_an_answer_without_a_bound_claims_none() -> None:
    document = solve(read_problem("llama-3.1-8b-l4-1")).to_json() | {"status": "feasible"}
    document["objective"] |= {"bound": None, "gap": None}
    text = page(read_subject(load_text(json.dumps(document)), None))
    assert "no bound yet" in text
    assert "0.00% from the best" not in text


def test_what_a_file_says_is_escaped() -> None:
    evil = '<script>alert("x")</script>'
    text = page(subject("llama-3.1-8b-l4-1", [Override("name", ("name",), evil)]), {evil: evil})
    assert evil not in text
    assert "&lt;script&gt;" in text
    assert element("p", a_b='"<') == '<p a-b="&quot;&lt;"></p>'


def test_every_figure_is_derived_on_the_page() -> None:
    own = subject("deepseek-v3-h200-32")
    text = page(own)
    assert text.count('<details class="figure">') == len(own.figures) > 30


@pytest.mark.parametrize("name", STEPS)
def test_parts_of_a_step_add_up_to_the_reference(name: str) -> None:
    own = subject(name)
    found = own.evaluation
    assert found is not None
    for step, ticks in ((found.steps.decode, found.decode_ticks), (found.steps.mixed, found.mixed_ticks)):
        if step is None:
            continue
        for stage in range(len(found.cuts)):
            parts = step_parts(own.problem, found, step, stage, own.skew)
            assert sum(part.ticks for part in parts) == ticks[stage]
            assert all(part.ideal_ticks <= part.ticks for part in parts)
            assert all(part.ideal_ticks == 0 for part in parts if part.name == LAUNCH)


def test_collectives_are_told_apart_by_tier() -> None:
    own = subject("deepseek-v3-h200-32", [Override("s", ("search",), {"ep": [32], "overlap": ["none"]})])
    assert own.evaluation is not None
    assert own.evaluation.steps.decode is not None
    names = {
        p.name for p in step_parts(own.problem, own.evaluation, own.evaluation.steps.decode, 0) if p.resource == LINK
    }
    assert len([name for name in names if name.startswith("dispatch")]) == 2
    assert effective_rates(own.problem.hardware).launch > 0


@pytest.mark.parametrize(
    ("sizes", "replicas", "replica", "starts"),
    [
        ((8, None), 3, 2, [0, 2, 4]),
        ((8, None), 3, 3, [0, 3, 8]),
        ((8, None), 2, 12, [0, 16]),
        ((4, 8, None), 3, 4, [0, 4, 8]),
        ((None,), 3, 5, [0, 5, 10]),
    ],
)
def test_replicas_straddle_no_domain(
    sizes: tuple[int | None, ...], replicas: int, replica: int, starts: list[int]
) -> None:
    assert list(replica_starts(sizes, replicas, replica)) == starts


@pytest.mark.parametrize("beside", [4, 2])
def test_every_rank_of_both_meshes_is_seated_once(beside: int) -> None:
    layout = Layout(tp=2, cp=1, dp=6, pp=2, etp=1, ep=4, edp=3, batch=4)
    found = list(seats(layout, (8, None), beside))
    assert [seat.stage for seat in found[: 2 * beside]] == [0] * beside + [1] * beside
    assert len({seat.device for seat in found}) == len(found) == layout.devices
    assert len({(s.stage, s.dp, s.cp, s.tp) for s in found}) == len(found)
    assert len({(s.stage, s.edp, s.ep, s.etp) for s in found}) == len(found)
    for seat in found:
        assert seat.tp < layout.tp
        assert seat.dp < layout.dp
        assert seat.edp < layout.edp


def test_map_agrees_with_the_answer_and_says_what_excludes() -> None:
    own = subject("llama-3.1-405b-h100-16")
    found = survey(own)
    assert found is not None
    assert own.layout is not None
    _, columns, rows, cells = found
    assert len(cells) == len(columns) * len(rows)
    answer = cells[own.layout.tp, own.layout.pp]
    assert answer.value == Fraction(own.document["certificate"]["objective"]["value"])
    assert all(cell.value is None or cell.value <= answer.value for cell in cells.values())
    assert cells[1, 1].excluded == "memory"
    assert cells[16, 16].excluded == "devices"


def test_cells_have_no_powers_of_ten() -> None:
    values = (0.01234567, 1.5, 986.64, 1001.4, 12294.3, 1.0e7)
    assert [four_digits(value) for value in values] == ["0.01235", "1.5", "986.6", "1,001", "12,294", "10,000,000"]


def test_picture_of_a_large_layout_says_what_is_left_out() -> None:
    own = subject("deepseek-v3-h800-2048")
    text = page(own)
    assert text.count('class="seat ') == 1024
    assert "1,024 devices are drawn" in text
    assert len(text) < 2_000_000


PARETO = [
    {"values": {"throughput_per_device": 10.0, "tpot": 0.02}, "layout": {"tp": 4, "dp": 1}},
    {"values": {"throughput_per_device": 20.0, "tpot": 0.05}, "layout": {"tp": 2, "dp": 2}},
]


@pytest.mark.parametrize(
    "held",
    [
        PARETO,
        {
            "objectives": ["throughput_per_device", "tpot"],
            "points": [{**p, "values": list(p["values"].values())} for p in PARETO],
        },
    ],
)
def test_frontier_is_plotted_with_its_layouts(held: object) -> None:
    text = page(subject("llama-3.1-8b-l4-1", pareto=held))
    assert text.count("<circle") == 2
    assert 'data-tip="throughput_per_device 20, tpot 0.05; tp 2, dp 2"' in text
    assert "pareto-plot" not in page(subject("llama-3.1-8b-l4-1"))


def placed() -> Subject:
    changes = [
        Override("e", ("experts",), {"load": ["zipf:0.8"], "redundant_slots": [16]}),
        Override("s", ("search",), {"tp": [1], "ep": [16], "pp": [1], "prefill_chunk": [512]}),
    ]
    return subject("qwen3-235b-a22b-placement-h200-16", changes)


def test_placement_is_shown_before_and_after_and_priced() -> None:
    own = placed()
    assert own.evaluation is not None
    assert float(own.evaluation.throughput) == own.document["figures"]["throughput_tokens_per_s"]
    text = page(own)
    assert text.count('class="heat"') == 2
    rows = re.search(r"before: experts.*?<td[^>]*>([\d.]+)</td>.*?after: placed.*?<td[^>]*>([\d.]+)</td>", text)
    assert rows is not None
    assert float(rows[1]) > float(rows[2])


def test_image_is_a_png_of_its_levels() -> None:
    assert levels([Fraction(0), Fraction(1), Fraction(2), Fraction(9)]) == bytes([0, 128, 255, 255])
    data = png([bytes(3), bytes(3)])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data[16:24] == bytes([0, 0, 0, 3, 0, 0, 0, 2])


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema": "shardproof/result/1"}'])
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        read_subject(load_text(text), None)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (3, "search: is no mapping of tallies"),
        ({"candidates": "a"}, "search.candidates: is no tally"),
        ({"candidates": 5, "excluded": [1]}, "search.excluded: is no mapping of tallies"),
        ({"candidates": 5, "excluded": {"memory": -1}}, "search.excluded.memory: is no tally"),
    ],
)
def test_a_search_that_cannot_be_drawn_is_refused(search: object, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        subject("qwen3-32b-h200-8", search=search)


def test_a_search_without_tallies_is_drawn() -> None:
    Reader().feed(page(subject("qwen3-32b-h200-8", search={"candidates": 5})))


def test_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, script = tmp_path / "r.json", tmp_path / "run.sh"
    result.write_text(json.dumps(solve(read_problem("llama-3.1-8b-l4-1")).to_json()))
    script.write_text("vllm serve & wait\n")
    assert shardproof(["report", str(result), "--launch", str(script), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    text = Path(said["path"]).read_text()
    assert said["path"] == str(tmp_path / "r.html")
    assert said["bytes"] == len(text.encode())
    assert "vllm serve &amp; wait" in text
    assert shardproof(["report", str(result), "--no-check", "--out", str(tmp_path / "other.html")]) == 0
    assert "Not checked for this report." in (tmp_path / "other.html").read_text()


@pytest.mark.parametrize(
    ("key", "value"), [("objective", "tpot"), ("layout", {"tp": 8, "pp": 2, "batch": 1, "stages": [64, 64, 64]})]
)
def test_a_result_that_somebody_broke_is_the_askers_error(
    key: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(solve(read_problem("qwen3-32b-h200-8", ())).to_json() | {key: value}))
    assert shardproof(["report", str(path)]) == 2
    assert "a bug" not in capsys.readouterr().err
    assert not path.with_suffix(".html").exists()


def test_command_fails_where_the_certificate_does(tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    document = solve(read_problem("llama-3.1-8b-l4-1")).to_json()
    document["figures"]["memory_bytes"] += 1
    result.write_text(json.dumps(document))
    assert shardproof(["report", str(result)]) == 1


def test_throughput_against_tpot_is_drawn_as_serving_benchmarks_draw_it() -> None:
    held = {
        "objectives": ["tpot_s", "throughput_per_device_tokens_per_s"],
        "points": [{"values": [0.01, 100.0], "layout": {}}, {"values": [0.05, 900.0], "layout": {}}],
    }
    text = page(subject("llama-3.1-8b-l4-1", pareto=held))
    assert "tokens/s a user" in text
    plot = text.split('id="pareto-plot"')[1]
    fast, slow = (float(x) for x in re.findall(r'<circle cx="([\d.]+)"', plot)[:2])
    assert fast > slow
    swapped = {**held, "objectives": ["ttft_s", "throughput_per_device_tokens_per_s"]}
    assert "tokens/s a user" not in page(subject("llama-3.1-8b-l4-1", pareto=swapped))


def test_a_page_without_a_name_says_what_it_is_about() -> None:
    asked = read_problem("llama-3.1-8b-l4-1").model_copy(update={"name": "problem"})
    text = json.dumps(solve(asked).to_json())
    assert "<h1>llama-3.1-8b on 1 × l4-8</h1>" in page(read_subject(load_text(text), None))
