"""Heat map of device load for the terminal: one line a layer, one cell a device, before and after."""

from collections.abc import Sequence
from fractions import Fraction

from rich.console import Console
from rich.text import Text

from optimizer.figures.placement import Devices, device_loads
from optimizer.figures.placement import linear_placement as naive_placement

__all__ = ["heat_map", "heat_row", "naive_placement", "print_heat_map", "relative_loads"]

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


def heat_map(
    loads: Sequence[Sequence[int]], before: Sequence[Devices], after: Sequence[Devices], layer_ids: Sequence[int]
) -> list[Text]:
    """Lines of the map: layer, hottest device before and after over the mean, and both rows of cells.

    Parameters
    ----------
    loads
        Tokens of ``[layer][expert]``.
    before, after
        Experts of ``[layer][device]``.
    layer_ids
        The model's own layer indices.
    """
    lines = [Text("layer  before   after  device load before | after", style="bold")]
    for load, old, new, layer in zip(loads, before, after, layer_ids, strict=True):
        was, now = relative_loads(load, old), relative_loads(load, new)
        line = Text(f"{layer:5d}  {float(max(was)):6.3f}  {float(max(now)):6.3f}  ")
        lines.append(line + heat_row(was) + Text(" | ") + heat_row(now))
    return lines


def print_heat_map(
    console: Console,
    loads: Sequence[Sequence[int]],
    before: Sequence[Devices],
    after: Sequence[Devices],
    layer_ids: Sequence[int],
) -> None:
    """Print the map; colours only where the console has them."""
    for line in heat_map(loads, before, after, layer_ids):
        console.print(line, soft_wrap=True)
