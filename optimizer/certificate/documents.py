"""The documents that can be checked: the one place where a document's kind is told and its checker found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optimizer.certificate.check import check_result
from optimizer.certificate.fleet import check_fleet, is_fleet
from optimizer.certificate.placement_document import SCHEMA as PLACEMENT_SCHEMA
from optimizer.certificate.placement_document import check_placement_document
from optimizer.certificate.reading import RESULT_SCHEMA
from optimizer.certificate.verdict import Check, Rejected
from optimizer.domain.cluster import Cluster
from optimizer.domain.mixture import as_cluster
from optimizer.domain.problem import Problem


@dataclass(frozen=True)
class DocumentKind:
    """A kind of document.

    Attributes
    ----------
    is_of
        Whether a document says that it is of this kind.
    check
        Rejects a document unless everything in it follows from its problem, or from the one asked where that is given;
        notes in the answer what was checked and what was not.
    asks
        What such a document answers.
    """

    is_of: Callable[[dict[str, Any]], bool]
    check: Callable[[dict[str, Any], Check, Any], None]
    asks: type[Problem | Cluster] = Problem


KINDS = (
    DocumentKind(lambda document: document.get("schema") == PLACEMENT_SCHEMA, check_placement_document),
    DocumentKind(is_fleet, check_fleet, Cluster),
    DocumentKind(lambda document: document.get("schema") == RESULT_SCHEMA, check_result),
)
"""Kinds of document; the first that a document is of checks it."""

_MOST_BITS = 14_000
"""Of an integer: Python prints 4,300 digits, each of log2(10) = 3.32 bits."""


def certify(document: object, asked: Problem | Cluster | None = None) -> Check:
    """Check what `solve` or `place` wrote, without the solver; whatever it holds, never raises.

    Parameters
    ----------
    document
        The document as plain data.
    asked
        The problem that it must be about; None: the one that it states.
    """
    started = time.monotonic()
    check = Check()
    try:
        kind = next((k for k in KINDS if k.is_of(document)), None) if isinstance(document, dict) else None
        _printable(document)
        if kind is None or not isinstance(document, dict):
            raise Rejected("schema", f"not a {RESULT_SCHEMA} or {PLACEMENT_SCHEMA} document")  # noqa: TRY301
        if isinstance(asked, Problem) and kind.asks is Cluster:
            asked = as_cluster(asked) or asked  # several layouts side by side are a fleet
        if asked is not None and not isinstance(asked, kind.asks):
            raise Rejected("problem", "a cluster and a problem of one demand on one pool are not the same")  # noqa: TRY301
        kind.check(document, check, asked)
        check.accepted = True
    except Rejected as rejection:
        check.reason, check.item = rejection.reason, rejection.item
    except RecursionError:
        check.reason, check.item = "nested deeper than anything it claims", "document"
    check.wall_s = time.monotonic() - started
    return check


def _printable(document: object) -> None:
    """Reject integers that are longer than any reason could print."""
    todo = [document]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            todo += part.values()
        elif isinstance(part, list):
            todo += part
        elif isinstance(part, int) and part.bit_length() > _MOST_BITS:
            raise Rejected("document", f"an integer of more than {_MOST_BITS:,} bits")
