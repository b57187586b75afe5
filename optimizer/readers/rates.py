"""A table of replicas with measured rates (CSV): what one replica takes and serves, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from optimizer.domain.cluster import GivenRate
from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import message_of, nearest
from optimizer.readers.source import csv_rows, read_text

_NEEDED = ("pool", "demand", "layout", "devices", "requests_per_s")
_OPTIONAL = ("role", "price", "power", "bucket")


def read_rates(path: str | Path) -> tuple[GivenRate, ...]:
    """Rows of a table: pool, demand, layout, devices, requests_per_s and, optionally, role, price, power, bucket.

    Raises
    ------
    SpecError
        A column that is missing or unknown, or a cell that cannot be read, with its line and column.
    """
    text, source = read_text(path)
    rows = csv_rows(text, source)
    head = [name.strip() for name in next(rows, (1, []))[1]]
    faults = [Fault(source, 1, None, None, f"column {name!r} is missing") for name in _NEEDED if name not in head]
    faults += [
        Fault(source, 1, number, None, f"unknown column {name!r}", nearest(name, [*_NEEDED, *_OPTIONAL]))
        for number, name in enumerate(head, 1)
        if name not in {*_NEEDED, *_OPTIONAL}
    ]
    if faults:
        raise SpecError(*faults)
    rates = []
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            faults.append(Fault(source, line, None, None, f"{len(cells)} cells under {len(head)} columns"))
            continue
        try:
            rates.append(_row(dict(zip(head, (cell.strip() for cell in cells), strict=True))))
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                name = str(fault["loc"][0]) if fault["loc"] else None
                column = head.index(name) + 1 if name in head else None
                faults.append(Fault(source, line, column, name, *message_of(fault)))
    if faults:
        raise SpecError(*faults)
    if not rates:
        raise SpecError(Fault(source, 1, None, None, "has no rows"))
    return tuple(rates)


def _row(cells: Mapping[str, str]) -> GivenRate:
    filled: dict[str, object] = {name: cell for name, cell in cells.items() if cell}
    devices = cells.get("devices", "")
    filled["devices"] = int(devices) if devices.isascii() and devices.isdigit() and len(devices) < 10 else devices
    return GivenRate.model_validate({"role": "aggregated", **filled})
