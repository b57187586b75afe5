"""A layout: degrees, batch, chunk and stage cuts; and the conventions by which documents write one."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, model_validator

from optimizer.domain.base import Grown, Spec
from optimizer.domain.convention import CONVENTIONS, Convention, Degrees
from optimizer.domain.limits import AsTuple
from optimizer.domain.shape import Overlap, Shape

__all__ = ["Convention", "Layout", "Stage", "WrittenLayout", "slotted"]


class Stage(Spec):
    """One pipeline stage: `layers` consecutive layers from `first_layer` on."""

    first_layer: int = Field(ge=0)
    layers: int = Field(ge=1)


class Layout(Grown):
    """Every degree resolved; `tp·cp·dp = etp·ep·edp` devices in each of `pp` stages.

    `batch` is the sequences in flight per attention data-parallel rank, `prefill_chunk` the prompt tokens a step takes,
    `redundant_slots` the expert slots of a layer beyond one for each routed expert. With `overlap: two_batch` a step
    runs as two micro-batches, one computing while the other's experts are exchanged.
    """

    later = ("redundant_slots", "overlap")

    tp: int = Field(ge=1, le=10**7)
    cp: int = Field(default=1, ge=1, le=10**7)
    dp: int = Field(default=1, ge=1, le=10**7)
    pp: int = Field(default=1, ge=1, le=10**7)
    etp: int = Field(default=1, ge=1, le=10**7)
    ep: int = Field(default=1, ge=1, le=10**7)
    edp: int = Field(default=1, ge=1, le=10**7)
    batch: int = Field(default=1, ge=1, le=10**9)
    prefill_chunk: int | None = Field(default=None, ge=1, le=10**9)
    redundant_slots: int = Field(default=0, ge=0, le=10**6)
    stages: Annotated[tuple[Stage, ...] | None, AsTuple] = None
    overlap: Overlap = "none"

    def to_json(self) -> dict[str, Any]:
        """Degrees and stages, with the device and replica counts that follow; redundant slots are stated beside it."""
        degrees = self.model_dump(mode="json", exclude={"redundant_slots"})
        return degrees | {"devices": self.devices, "replicas": self.replicas}

    @cached_property
    def shape(self) -> Shape:
        """The shape of one replica."""
        split = self.overlap == "two_batch"
        return Shape(self.tp, self.cp, self.etp, self.ep, self.pp, self.redundant_slots, split)

    @property
    def told(self) -> str:
        """Degrees and batch, as sentences have them."""
        return ", ".join(f"{n}={getattr(self, n)}" for n in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"))

    @property
    def stage_devices(self) -> int:
        """Devices of one pipeline stage, all replicas together."""
        return self.tp * self.cp * self.dp

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.stage_devices * self.pp

    @property
    def replica_devices(self) -> int:
        """Devices of one replica."""
        return self.shape.devices

    @property
    def replicas(self) -> int:
        """Independent serving instances."""
        return self.stage_devices // self.shape.stage_devices

    @property
    def micro_batch(self) -> int:
        """Sequences of one rank that one stage works on at a time."""
        return -(-self.batch // self.pp)


def slotted(layout: Layout | None, name: str = "layout") -> dict[str, Any]:
    """A layout as documents hold it, under a name, with its redundant expert slots beside it."""
    return {
        name: None if layout is None else layout.to_json(),
        "redundant": 0 if layout is None else layout.redundant_slots,
    }


class WrittenLayout(Spec):
    """A layout as a document writes it; `convention` says how to read the degrees (see `CONVENTIONS`)."""

    convention: Convention = "folded"
    tp: int = Field(default=1, ge=1, le=10**7)
    cp: int = Field(default=1, ge=1, le=10**7)
    dp: int = Field(default=1, ge=1, le=10**7)
    pp: int = Field(default=1, ge=1, le=10**7)
    etp: int | None = Field(default=None, ge=1, le=10**7)
    ep: int | None = Field(default=None, ge=1, le=10**7)
    edp: int | None = Field(default=None, ge=1, le=10**7)
    batch: int = Field(default=1, ge=1, le=10**9)
    prefill_chunk: int | None = Field(default=None, ge=1, le=10**9)
    redundant_slots: int = Field(default=0, ge=0, le=10**6)
    stages: Annotated[tuple[Stage, ...] | None, AsTuple] = None
    overlap: Overlap = "none"

    @model_validator(mode="after")
    def _mesh(self) -> WrittenLayout:
        # whether a mesh of 1 · 1 · 1 is that of a model without experts is known only beside the model
        self.resolve(experts={self.etp, self.ep, self.edp} != {1})
        return self

    def resolve(self, *, experts: bool = True) -> Layout:
        """Both meshes in full.

        Parameters
        ----------
        experts
            Whether the model has any; without them an expert mesh that is not written is 1 · 1 · 1.

        Raises
        ------
        ValueError
            The degrees contradict the convention, or the two meshes each other.
        """
        written = Degrees(self.tp, self.cp, self.dp, self.pp, self.etp, self.ep, self.edp)
        if not experts and {self.etp, self.ep, self.edp} <= {None, 1}:
            degrees = {**CONVENTIONS[self.convention].read(written), "etp": 1, "ep": 1, "edp": 1}
            return self._with(degrees)
        degrees = dict(CONVENTIONS[self.convention].read(written))
        stage = degrees["tp"] * degrees["cp"] * degrees["dp"]
        if degrees["etp"] * degrees["ep"] * degrees["edp"] != stage:
            experts_mesh = (
                f"{degrees['etp']}·{degrees['ep']}·{degrees['edp']} = {degrees['etp'] * degrees['ep'] * degrees['edp']}"
            )
            message = (
                f"tp·cp·dp = {degrees['tp']}·{degrees['cp']}·{degrees['dp']} = {stage} devices per stage, but "
                f"etp·ep·edp = {experts_mesh}"
            )
            raise ValueError(message)
        return self._with(degrees)

    def _with(self, degrees: dict[str, int]) -> Layout:
        return Layout(
            **degrees, batch=self.batch, prefill_chunk=self.prefill_chunk, redundant_slots=self.redundant_slots,
            stages=self.stages, overlap=self.overlap,
        )  # fmt: skip
