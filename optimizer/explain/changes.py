"""The table of an explanation: limits in conflict with what each would have to be, or limits that bind."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from optimizer.domain.tabled import Tabled


class Explained(Tabled):
    """An explanation, of one layout or of a fleet."""

    columns = ("limit", "value", "unit", "in_conflict", "to", "objective", "gain")

    @property
    @abstractmethod
    def status(self) -> str:
        """`feasible` or `infeasible`."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """``shardproof/explain/1``."""

    @property
    def headline(self) -> str:
        """The status, and the limits that conflict or bind."""
        document = self.to_json()
        names = [item["limit"] for item in document["conflict"] or document.get("binding", ())]
        word = "conflict" if document["conflict"] else "bind"
        return f"{self.status}: {', '.join(names)} {word}{'s' * (len(names) == 1)}" if names else self.status

    def rows(self) -> list[dict[str, Any]]:
        """Of what does not fit every limit in conflict or that a change `to` another value helps; else what binds.

        `objective` is the best without the limit, or with the change that `limit` names, and `gain` its share.
        """
        document = self.to_json()
        members = {item["limit"]: item for item in document["conflict"]}
        helped = {item["limit"] for item in document["relaxations"]}
        rows: list[dict[str, Any]] = [
            {name: item.get(name) for name in ("limit", "value", "unit")} | {"in_conflict": True}
            for item in members.values()
            if item["limit"] not in helped
        ]
        rows += [
            {"limit": item["limit"], "value": item["from"], "unit": item["unit"], "to": item["to"]}
            | {"in_conflict": item["limit"] in members}
            for item in document["relaxations"]
        ]
        rows += [
            {name: item.get(name) for name in ("limit", "value", "unit", "gain")} | {"objective": item["without"]}
            for item in document.get("binding", ())
        ]
        rows += [
            {"limit": item["change"], "objective": item["value"], "gain": item["gain"]}
            for item in document.get("what_if", ())
        ]
        return [dict.fromkeys(self.columns) | row for row in rows]
