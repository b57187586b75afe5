"""How many experts a device holds, in the three counts that authors confuse."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from optimizer.audit.derive import Derivation, FactTable, deduplicated, once, put_in

RESIDENT: Final = "experts_resident_per_layer"
INSTANCES: Final = "expert_instances"
EQUIVALENTS: Final = "expert_equivalents"
EQUIVALENTS_PER_LAYER: Final = "expert_equivalents per layer"
_FACTS: Final = ("experts_per_layer", "layers", "devices", "ep", "pp", "tp", "dp", "etp")


@once
def experts_total(table: FactTable) -> list[Derivation]:
    """Expert instances of the model: experts per layer times layers."""
    found = []
    for facts in table.combinations(("experts_per_layer", "layers")):
        if len(facts) == 2:
            formula = "experts_per_layer × layers"
            value = facts["experts_per_layer"] * facts["layers"]
            found.append(Derivation("expert instances of the model", value, formula, put_in(formula, **facts)))
            found.append(
                Derivation(
                    "experts of one layer",
                    facts["experts_per_layer"],
                    "experts_per_layer",
                    str(facts["experts_per_layer"]),
                )
            )
    return deduplicated(found)


@once
def expert_readings(table: FactTable) -> list[Derivation]:
    """Experts per device in each of the three counts, as far as the facts reach."""
    return deduplicated(_readings(table))


@once
def whole_stage(table: FactTable) -> list[Derivation]:
    """The three counts of a device's whole stage."""
    return [reading for reading in expert_readings(table) if reading.reading != EQUIVALENTS_PER_LAYER]


@once
def one_layer(table: FactTable) -> list[Derivation]:
    """The counts of one layer."""
    return [reading for reading in expert_readings(table) if reading.reading in {RESIDENT, EQUIVALENTS_PER_LAYER}]


@once
def complete(table: FactTable) -> bool:
    """Whether all three counts can be had, so that a figure outside all of them is wrong."""
    readings = {derivation.reading for derivation in expert_readings(table)}
    return {RESIDENT, INSTANCES, EQUIVALENTS} <= readings


def _readings(table: FactTable) -> Iterator[Derivation]:
    names = [*_FACTS, *(["ep_groups"] if not table.values("ep") else [])]
    for given in table.combinations(names):
        facts = {**given, "ep": given["ep_groups"]} if "ep_groups" in given else given
        experts, layers, devices = (facts.get(name) for name in ("experts_per_layer", "layers", "devices"))
        if experts is not None and "ep" in facts and facts["ep"] <= experts:
            yield from _resident(facts, experts)
        total = experts * layers if experts is not None and layers is not None else None
        name = "experts_per_layer × layers"
        if total is None and (written := table.one("experts_total")) is not None:
            total, name = written, "experts_total"
            facts = {**facts, "experts_total": written}
        if total is not None and devices is not None and devices > 0:
            formula = f"{name} / devices"
            assumes = ("every expert is held once (edp = 1)",) if "ep" not in facts else ()
            yield Derivation(EQUIVALENTS, total / devices, formula, put_in(formula, **facts), assumes)
            if layers is not None and layers > 0:
                per_layer = f"{name} / devices / layers"
                yield Derivation(
                    EQUIVALENTS_PER_LAYER, total / devices / layers, per_layer, put_in(per_layer, **facts), assumes
                )


def _resident(facts: dict[str, Fraction], experts: Fraction) -> Iterator[Derivation]:
    resident = Fraction(math.ceil(experts / facts["ep"]))
    formula = "experts_per_layer / ep"
    yield Derivation(RESIDENT, resident, formula, put_in(formula, **facts))
    if "layers" not in facts:
        return
    stages = facts.get("pp", Fraction(1))
    assumes = () if "pp" in facts else ("pp is not written: taken as 1",)
    formula = "experts_per_layer / ep × layers" + (" / pp" if "pp" in facts else "")
    yield Derivation(INSTANCES, resident * facts["layers"] / stages, formula, put_in(formula, **facts), assumes)
    shards = _shards(facts)
    if shards is not None and "devices" not in facts:
        value = resident * facts["layers"] / stages / shards
        formula += " / etp"
        yield Derivation(EQUIVALENTS, value, formula, put_in(formula, **{**facts, "etp": shards}), assumes)
    if "pp" not in facts and "devices" in facts:
        yield from _stages_from_devices(facts, resident)


def _shards(facts: dict[str, Fraction]) -> Fraction | None:
    """Expert tensor parallelism: written, else min(tp, tp × dp / ep) as in the ``folded`` convention."""
    if "etp" in facts:
        return facts["etp"]
    if "tp" not in facts or "dp" not in facts:
        return None
    left = facts["tp"] * facts["dp"] / facts["ep"]
    return max(min(facts["tp"], left), Fraction(1))


def _stages_from_devices(facts: dict[str, Fraction], resident: Fraction) -> Iterator[Derivation]:
    """With no pp written, devices / ep may be pipeline stages: the other extreme of the instance count."""
    stages = facts["devices"] / facts["ep"]
    if stages.denominator == 1 and stages > 1 and facts["layers"] % stages == 0:
        formula = "experts_per_layer / ep × layers / stages"
        value = resident * facts["layers"] / stages
        assumes = (f"devices / ep = {stages} are pipeline stages",)
        yield Derivation(INSTANCES, value, formula, put_in(formula, **{**facts, "stages": stages}), assumes)
