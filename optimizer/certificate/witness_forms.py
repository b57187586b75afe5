"""The form of witnesses: their keys by kind, and numbers that are integers or rationals in lowest terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from optimizer.certificate.reading import keys
from optimizer.certificate.verdict import Rejected, brief

_VISITS = frozenset({"nodes", "bound", "witness"})
_VISITS_WITNESS = {"partners": frozenset({"kind", "price"}), "solver": frozenset({"kind"})}
_WITNESS = {
    "average": frozenset({"kind"}),
    "count": frozenset({"kind", "threshold"}),
    "topj": frozenset({"kind", "heaviest"}),
    "pairing": frozenset({"kind", "threshold", "values", "cases"}),
    "price": frozenset({"kind", "threshold", "sizes", "prices"}),
    "hierarchical": frozenset({"kind"}),
    "scenario": frozenset({"kind", "bounds"}),
    "envelope": frozenset({"kind", "threshold"}),
    "combination": frozenset({"kind", "parts", "bound"}),
    "relief": frozenset({"kind", "devices"}),
    "relieved": frozenset({"kind", "devices", "threshold"}),
    "laying": frozenset({"kind"}),
    "solver": frozenset({"kind", "checked"}),
}
"""Keys of a witness by its kind; see `certificate.placement` for what each proves."""

_SPLIT, _REFUTED = frozenset({"expert", "copies", "at_most", "more"}), frozenset({"price", "points"})
_Read = Callable[[str, object], None]
_RATIONAL = re.compile(r"-?[0-9]{1,4000}(?:/[0-9]{1,4000})?")


def check_witness(item: str, stated: object) -> None:
    """The form of a witness: its keys, and numbers that are integers or rationals in lowest terms."""
    kind = stated.get("kind") if isinstance(stated, dict) else None
    witness = keys(item, stated, _WITNESS.get(kind if isinstance(kind, str) else "", frozenset({"kind"})))
    for name, read in _FORMS.items():
        if name in witness:
            read(f"{item}.{name}", witness[name])


def check_visits(item: str, stated: object) -> None:
    """The form of what is said of nodes visited."""
    visits = keys(item, stated, _VISITS)
    _whole(item + ".nodes", visits["nodes"])
    _whole(item + ".bound", visits["bound"])
    witness = visits["witness"]
    kind = witness.get("kind") if isinstance(witness, dict) else None
    keys(item + ".witness", witness, _VISITS_WITNESS.get(kind if isinstance(kind, str) else "", frozenset({"kind"})))
    if kind == "partners":
        check_rational(item + ".witness.price", witness["price"])


def _whole(item: str, stated: object) -> None:
    if type(stated) is not int or abs(stated) >= 2**63:
        raise Rejected(item, f"{brief(stated)} is not an integer of 64 bits")


def _point(item: str, stated: object) -> None:
    if not isinstance(stated, list) or len(stated) != 2:
        raise Rejected(item, f"{brief(stated)} is not the place of a value with its multiplier")
    _whole(item, stated[0])
    _whole(item, stated[1])


def _cases(item: str, stated: object) -> None:
    todo = [stated]
    while todo:
        case = todo.pop()
        if not isinstance(case, dict):
            raise Rejected(item, f"{brief(case)} is not a case")
        if "expert" in case:
            keys(item, case, _SPLIT)
            _whole(item, case["expert"])
            _whole(item, case["copies"])
            todo += [case["at_most"], case["more"]]
        else:
            keys(item, case, _REFUTED)
            _whole(item, case["price"])
            _each(_point)(item, case["points"])


def _each(read: _Read) -> _Read:
    def read_all(item: str, stated: object) -> None:
        if not isinstance(stated, list):
            raise Rejected(item, f"{brief(stated)} is not a list")
        for number, part in enumerate(stated):
            read(f"{item}[{number}]", part)

    return read_all


def check_rational(item: str, stated: object) -> None:
    """A rational in lowest terms, as text."""
    if not isinstance(stated, str) or not _RATIONAL.fullmatch(stated) or stated.endswith("/0"):
        raise Rejected(item, f"{brief(stated)} is not a rational")
    if str(Fraction(stated)) != stated:
        raise Rejected(item, f"{brief(stated)} is not in lowest terms")


_FORMS: dict[str, _Read] = {
    "threshold": check_rational,
    "sizes": _each(check_rational),
    "prices": _each(_whole),
    "heaviest": _whole,
    "values": _each(check_rational),
    "cases": _cases,
    "bounds": _each(check_witness),
    "parts": _each(check_rational),
    "bound": check_witness,
    "checked": check_witness,
    "devices": _each(_whole),
}
"""What the fields of a witness hold."""
