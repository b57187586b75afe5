"""What is asked of the deployment: one file for each kind of work, and what all of them answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from optimizer.domain.workload.serving import (
    PHASES,
    UNPRICED_DRAFTS,
    Phase,
    PhaseName,
    ServingWorkload,
    check_drafts,
    spared_and_drafted,
)
from optimizer.domain.workload.workload import Arrival, Evaluated, OwnFigure, Part, Workload

WORKLOADS: dict[str, type[Workload]] = {"serving": ServingWorkload}
"""Kinds of work, by the `kind` that problems write; `serving` where they write none."""


class OfItsKind:
    """Reads a workload by its kind, and writes it as its own class does."""

    @property
    def kinds(self) -> tuple[type[Workload], ...]:
        """Classes that one may be of."""
        return tuple(WORKLOADS.values())

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            _read, handler.generate_schema(ServingWorkload), serialization=core_schema.simple_ser_schema("any")
        )


def _read(written: object, serving: core_schema.ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - of its class
    kind = written.get("kind") if isinstance(written, dict) else getattr(written, "kind", None)
    its_class = WORKLOADS.get(kind, ServingWorkload) if isinstance(kind, str) else ServingWorkload
    return serving(written) if its_class is ServingWorkload else its_class.model_validate(written)


AnyWorkload = Annotated[Workload, OfItsKind()]
"""The field of a problem: a workload of any kind."""

__all__ = [
    "PHASES",
    "UNPRICED_DRAFTS",
    "WORKLOADS",
    "AnyWorkload",
    "Arrival",
    "Evaluated",
    "OfItsKind",
    "OwnFigure",
    "Part",
    "Phase",
    "PhaseName",
    "ServingWorkload",
    "Workload",
    "check_drafts",
    "spared_and_drafted",
]
