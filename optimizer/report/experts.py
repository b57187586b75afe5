"""Expert load of every device before and after placement, a row for each layer: for the terminal, and on the page."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from fractions import Fraction
from html import escape
from typing import Final

from rich.text import Text

from optimizer.figures.placement import Devices, device_loads, linear_placement
from optimizer.report.html_parts import element, paragraph, section, table
from optimizer.report.subject import Subject

_SHADES = " ▁▂▃▄▅▆▇█"
_COOL, _WARM, _HOT = 1.02, 1.10, 1.25


def relative_loads(load: Sequence[int], devices: Devices) -> list[Fraction]:
    """Device loads over their mean; 1 for a layer without load."""
    total = sum(load)
    return [value * len(devices) / total if total else Fraction(1) for value in device_loads(load, devices)]


def heat_row(loads: Sequence[Fraction]) -> Text:
    """One cell for each device: higher and warmer means hotter, a full cell is twice the mean or more."""
    row = Text()
    for load in loads:
        level = min(len(_SHADES) - 1, round(float(load) * (len(_SHADES) - 1) / 2))
        row.append(_SHADES[level], style=_style(float(load)))
    return row


def _style(load: float) -> str:
    if load <= _COOL:
        return "green"
    if load <= _WARM:
        return "yellow"
    return "dark_orange" if load <= _HOT else "red"


_STOPS: Final = ((0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (200, 184, 102), (254, 232, 56))
"""Cividis (Nuñez, Anderton and Renslow 2018), which looks the same with any colour vision, at equal steps."""
HOTTEST = 2.0
"""Load over the mean that has the last colour."""


def _ramp() -> bytes:
    colours = bytearray()
    for level in range(256):
        at = level / 255 * (len(_STOPS) - 1)
        low = min(int(at), len(_STOPS) - 2)
        for first, second in zip(_STOPS[low], _STOPS[low + 1], strict=True):
            colours.append(round(first + (second - first) * (at - low)))
    return bytes(colours)


def png(rows: Sequence[bytes]) -> bytes:
    """A PNG of one byte a pixel on the ramp (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = (chunk(b"IHDR", header), chunk(b"PLTE", _ramp()), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def levels(loads: Sequence[Fraction]) -> bytes:
    """Load over the mean as 0 … 255 for 0 … `HOTTEST`."""
    return bytes(min(255, round(float(load) / HOTTEST * 255)) for load in loads)


def _image(name: str, title: str, rows: Sequence[bytes], layers: Sequence[int]) -> str:
    data = b64encode(png(rows)).decode()
    values = b64encode(b"".join(rows)).decode()
    return element(
        "figure",
        element("figcaption", escape(title)),
        f'<img id="{name}" class="heat" alt="{escape(title)}" src="data:image/png;base64,{data}" '
        f'width="{len(rows[0])}" height="{len(rows)}" data-values="{values}" data-scale="{HOTTEST / 255}" '
        f'data-layers="{",".join(map(str, layers))}">',
    )


def experts_section(subject: Subject) -> str:
    """Both images for the first workload, and the balance of every workload; empty without a placement."""
    placement, problem = subject.placement, subject.problem
    if placement is None or not problem.expert_loads:
        return ""
    load = problem.expert_loads[0]
    placed_layers = [layer["devices"] for layer in placement["layers"]]
    layers = [int(layer["layer"]) for layer in placement["layers"]]
    devices, slots, experts = len(placed_layers[0]), int(placement["slots_per_device"]), len(load.rows[0])
    order = linear_placement(experts, devices, slots)
    before = [relative_loads(row, order) for row in load.rows]
    after = [relative_loads(row, placed) for row, placed in zip(load.rows, placed_layers, strict=True)]
    worst = [[float(max(row)) for row in rows] for rows in (before, after)]
    summary = [
        ["before: experts in the order of their ids", f"{sum(worst[0]) / len(worst[0]):.4f}", f"{max(worst[0]):.4f}"],
        ["after: placed", f"{sum(worst[1]) / len(worst[1]):.4f}", f"{max(worst[1]):.4f}"],
    ]
    split = (
        "" if problem.experts is None or problem.experts.split == "even" else " Copies share their load evenly here."
    )
    return section(
        "experts", "Load of the experts' devices",
        paragraph(
            f"A row for each of {len(layers)} layers, a column for each of {devices} devices with {slots} slots; "
            f"load over the mean of the layer, from {load.name}. Dark is idle, bright is twice the mean or more.{split}"
        ),
        element(
            "div",
            _image("heat-before", "before", [levels(row) for row in before], layers),
            _image("heat-after", "after", [levels(row) for row in after], layers),
            class_="pair",
        ),
        table(["hottest device ÷ mean", "mean over layers", "worst layer"], summary, right=(1, 2)),
    )  # fmt: skip
