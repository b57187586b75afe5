"""The deployment as a directed acyclic graph: every device, its groups, and the collectives of one step.

Rank order: tp fastest, then cp, dp, and pp slowest; inside a stage the experts count etp fastest, then ep, then edp.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from optimizer.domain.layout import Layout
from optimizer.errors import Fault, SpecError
from optimizer.figures.bandwidth import stage_traffic
from optimizer.report.subject import Subject

DEGREES: Final = ("tp", "cp", "dp", "pp", "etp", "ep", "edp")


def checked(layout: Layout) -> Layout:
    """A layout whose meshes are of one size, or without experts (etp · ep · edp = 1).

    Raises
    ------
    SpecError
        tp · cp · dp unlike etp · ep · edp where there are experts.
    """
    expert_devices = layout.etp * layout.ep * layout.edp
    if expert_devices not in {1, layout.stage_devices}:
        message = f"tp · cp · dp = {layout.stage_devices} devices per stage, but etp · ep · edp = {expert_devices}"
        raise SpecError(message)
    return layout


def has_experts(layout: Layout) -> bool:
    """Whether there is an expert mesh."""
    return layout.etp * layout.ep * layout.edp > 1


def coordinates(layout: Layout, rank: int) -> dict[str, int]:
    """Place of ``rank`` on both meshes."""
    stage, local_rank = divmod(rank, layout.stage_devices)
    places = {
        "stage": stage,
        "tp": local_rank % layout.tp,
        "cp": local_rank // layout.tp % layout.cp,
        "dp": local_rank // (layout.tp * layout.cp),
    }
    if has_experts(layout):
        places |= {
            "etp": local_rank % layout.etp,
            "ep": local_rank // layout.etp % layout.ep,
            "edp": local_rank // (layout.etp * layout.ep),
        }
    return places


@dataclass(frozen=True, slots=True)
class Axis:
    """A collective: its axis, the degree's stride inside a stage, its size, and what it does."""

    name: str
    stride: int
    size: int
    operation: str


@dataclass(frozen=True, slots=True)
class RankGroup:
    """One collective of one group of ranks in a stage."""

    axis: Axis
    stage: int
    index: int
    ranks: tuple[int, ...]
    bytes: int | None

    @property
    def id(self) -> str:
        """Name of the node."""
        return f"stage{self.stage}/{self.axis.name}{self.index}"


@dataclass(frozen=True, slots=True)
class Dag:
    """The graph: devices by rank, groups in the order of the step, and edges between node names."""

    degrees: Layout
    groups: tuple[RankGroup, ...]
    sends: tuple[tuple[int, int], ...]
    send_bytes: tuple[int | None, ...]
    """Bytes that a device hands to the next stage, by its own stage."""
    edges: tuple[tuple[str, str], ...] = field(repr=False)

    def sent_from(self, rank: int) -> int | None:
        """Bytes that ``rank`` hands to the next stage in a step."""
        return self.send_bytes[rank // self.degrees.stage_devices]

    def to_json(self) -> dict[str, Any]:
        """Node-link document (the keys of networkx), ``shardproof/dag/1``."""
        degrees = self.degrees
        nodes: list[dict[str, Any]] = [
            {"id": device(rank), "kind": "device", "rank": rank, **coordinates(degrees, rank)}
            for rank in range(degrees.devices)
        ]
        nodes += [
            {
                "id": group.id, "kind": "collective", "axis": group.axis.name, "operation": group.axis.operation,
                "stage": group.stage, "ranks": list(group.ranks), "bytes_per_step": group.bytes,
            }
            for group in self.groups
        ]  # fmt: skip
        nodes += [
            {
                "id": send(a, b),
                "kind": "send",
                "axis": SEND_AXIS,
                "source": a,
                "target": b,
                "bytes_per_step": self.sent_from(a),
            }
            for a, b in self.sends
        ]
        return {
            "schema": "shardproof/dag/1",
            "directed": True,
            "multigraph": False,
            "graph": {name: getattr(degrees, name) for name in DEGREES} | {"devices": degrees.devices},
            "nodes": nodes,
            "edges": [{"source": source, "target": target} for source, target in self.edges],
        }


def device(rank: int) -> str:
    """Name of a device's node."""
    return f"device{rank}"


def send(source: int, target: int) -> str:
    """Name of a transfer between stages."""
    return f"send{source}-{target}"


SEND_AXIS: Final = "pp"
"""Axis of the transfers between stages."""
_OPERATIONS: Final = {"cp": "all-gather", "tp": "all-reduce", "ep": "all-to-all", "etp": "all-reduce"}


def axes(degrees: Layout) -> tuple[Axis, ...]:
    """Collectives of a stage in the order of a layer: context, tensor, then the experts'. A degree of 1 needs none."""
    strides = [("cp", degrees.tp, degrees.cp), ("tp", 1, degrees.tp)]
    if has_experts(degrees):
        strides += [("ep", degrees.etp, degrees.ep), ("etp", 1, degrees.etp)]
    return tuple(Axis(name, stride, size, _OPERATIONS[name]) for name, stride, size in strides if size > 1)


def groups_of(degrees: Layout, axis: Axis, stage: int) -> Iterator[tuple[int, ...]]:
    """Ranks of each group of ``axis`` in ``stage``, in the order of their first rank."""
    first = stage * degrees.stage_devices
    span = axis.stride * axis.size
    for block in range(0, degrees.stage_devices, span):
        for offset in range(axis.stride):
            start = first + block + offset
            yield tuple(range(start, start + span, axis.stride))


def build_dag(layout: Layout, traffic: Mapping[str, int] | Sequence[Mapping[str, int]] | None = None) -> Dag:
    """Graph of one step: each device, its collectives in order, and the transfer to the next stage.

    Parameters
    ----------
    layout
        Degrees of both meshes; ``etp = ep = edp = 1`` for a model without experts.
    traffic
        Bytes per step and device by axis (``tp``, ``cp``, ``ep``, ``etp``, ``pp``; a result's ``tp_bytes`` also does):
        the same in every stage, or one mapping for each stage.

    Raises
    ------
    SpecError
        As `checked`; traffic of another number of stages.
    """
    degrees = checked(layout)
    stage_traffic = [traffic or {}] * degrees.pp if traffic is None or isinstance(traffic, Mapping) else list(traffic)
    if len(stage_traffic) != degrees.pp:
        message = f"traffic of {len(stage_traffic)} stages, but there are {degrees.pp}"
        raise SpecError(message)
    sizes = [{name.removesuffix("_bytes"): size for name, size in stage.items()} for stage in stage_traffic]
    groups: list[RankGroup] = []
    edges: dict[tuple[str, str], None] = {}
    last = {rank: device(rank) for rank in range(degrees.devices)}
    for stage in range(degrees.pp):
        for axis in axes(degrees):
            for index, ranks in enumerate(groups_of(degrees, axis, stage)):
                group = RankGroup(axis, stage, index, ranks, sizes[stage].get(axis.name))
                groups.append(group)
                edges.update(dict.fromkeys((last[rank], group.id) for rank in ranks))
            for group in groups[-(degrees.stage_devices // axis.size) :]:
                last.update(dict.fromkeys(group.ranks, group.id))
    sends = tuple((rank, rank + degrees.stage_devices) for rank in range(degrees.devices - degrees.stage_devices))
    for source, target in sends:
        edges[last[source], send(source, target)] = None
        edges[send(source, target), device(target)] = None
    return Dag(degrees, tuple(groups), sends, tuple(stage.get("pp") for stage in sizes), tuple(edges))


def meshes_of(subject: Subject) -> Layout:
    """The layout; no expert mesh for a model without experts.

    Raises
    ------
    SpecError
        Nothing fits, so that there is no layout.
    """
    layout = subject.layout
    if layout is None:
        raise SpecError(Fault(None, None, None, "layout", "the result has none: nothing fits"))
    without = {"etp": 1, "ep": 1, "edp": 1} if subject.problem.model.moe is None else {}
    return layout.model_copy(update=without)


def dag_of(subject: Subject) -> Dag:
    """Graph of the layout; bytes that one device sends in a mean step, over every link tier, by axis and stage.

    Raises
    ------
    SpecError
        As `meshes_of`.
    """
    meshes = meshes_of(subject)
    evaluation = subject.evaluation
    if evaluation is None:
        return build_dag(meshes)
    traffic = []
    for stage in stage_traffic(subject.problem, evaluation, subject.skew):
        sizes: dict[str, Fraction] = {}
        for (axis, _), size in stage.items():
            sizes[axis] = sizes.get(axis, Fraction(0)) + size
        traffic.append({axis: round(size) for axis, size in sizes.items()})
    return build_dag(meshes, traffic)
