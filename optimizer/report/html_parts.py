"""Elements of the page and of its pictures; everything that comes from a file is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from optimizer import __version__
from optimizer.units import amount

COLOURS: Final = 8
"""Classes `c0` … `c7` of the style sheet: the palette of Okabe and Ito (2008), readable with any colour vision."""


def element(name: str, *inside: str, **attributes: object) -> str:
    """One element; `inside` is markup, attribute values are text; ``class_`` becomes ``class``, ``_`` within a dash."""
    markup = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{markup}>{''.join(inside)}</{name}>"


def number(value: float) -> str:
    """A coordinate: two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def four_digits(value: float) -> str:
    """Four digits of a number as people write it: whole from 1,000 on, no powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def rect(x: float, y: float, width: float, height: float, *, tip: str | None = None, **attributes: object) -> str:
    """A rectangle; `tip` is shown on hover."""
    sizes = {"x": number(x), "y": number(y), "width": number(max(width, 0)), "height": number(height)}
    return element("rect", **sizes, data_tip=tip, **attributes)


def label(x: float, y: float, text: str, **attributes: object) -> str:
    """Text of a picture, its baseline at y."""
    return element("text", escape(text), x=number(x), y=number(y), **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """A straight line."""
    return element("line", x1=number(x1), y1=number(y1), x2=number(x2), y2=number(y2), **attributes)


def picture(name: str, title: str, width: float, height: float, inside: Iterable[str]) -> str:
    """An SVG that scales down with the page, and scrolls where letters would be too small to read.

    `title` is read to who does not see it.
    """
    return (
        f'<div class="scroll"><svg id="{escape(name)}" class="picture" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {number(width)} {number(height)}" style="max-width:{number(width)}px" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(inside)}</svg></div>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A table of plain text."""

    def row(cells: Sequence[str], name: str) -> str:
        return element(
            "tr", *(element(name, escape(c), class_="n" if i in right else None) for i, c in enumerate(cells))
        )

    body = "".join(row(cells, "td") for cells in rows)
    return element("div", element("table", element("thead", row(head, "th")), element("tbody", body)), class_="scroll")


def conflict_list(conflict: object) -> str:
    """The limits of a conflict, each with its value; empty where none is stated."""
    limits = [limit for limit in conflict if isinstance(limit, Mapping)] if isinstance(conflict, list) else []
    items = [f"{limit.get('limit')} {amount(limit.get('value'), str(limit.get('unit') or ''))}" for limit in limits]
    return element("ul", *(element("li", escape(item)) for item in items)) if items else ""


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Colour classes with what they stand for."""
    return element(
        "ul", *(element("li", element("i", class_=name), escape(text)) for name, text in entries), class_="legend"
    )


def section(name: str, title: str, *inside: str) -> str:
    """A part of the page."""
    return element("section", element("h2", escape(title)), *inside, id=name)


def paragraph(text: str, **attributes: object) -> str:
    """Plain text."""
    return element("p", escape(text), **attributes)


def _resource(name: str) -> str:
    return files("optimizer.report").joinpath(name).read_text(encoding="utf-8")


def shell(title: str, head: str, parts: Iterable[str]) -> str:
    """A whole page that fetches nothing: its head and its sections are markup."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_resource('page.css')}</style></head><body>"
        f"<header>{head}</header>\n<main>{''.join(parts)}</main>"
        f"<footer>shardproof {escape(__version__)}</footer>"
        f'<div id="tip" role="status" hidden></div><script>{_resource("page.js")}</script></body></html>\n'
    )
