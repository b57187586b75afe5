"""Device counts of written degrees, under every convention that authors and engines use."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from optimizer.audit.derive import Derivation, FactTable, deduplicated, once, put_in
from optimizer.audit.statements import AXES

_ATTENTION_WIDTH: Final = "attention width (SGLang attention DP, TensorRT-LLM)"


def _whole(value: Fraction) -> bool:
    return value.denominator == 1


@once
def device_readings(table: FactTable) -> list[Derivation]:
    """Device count of the stated degrees under each convention whose side condition they meet.

    ``folded`` carves expert parallelism out of tp x dp (Megatron-LM, torchtitan, vLLM, DeepSpeed); ``product`` lets
    every degree multiply (expert grid, whole engines replicated). A degree that is not written counts as 1.
    """
    return deduplicated(_readings(table))


def _readings(table: FactTable) -> Iterator[Derivation]:
    for degrees in table.combinations(AXES):
        if len(degrees) < 2:
            continue
        tp, cp, dp, pp, ep = (degrees.get(axis, Fraction(1)) for axis in AXES[:5])
        width = tp * cp * dp
        values = {"tp": tp, "cp": cp, "dp": dp, "pp": pp, "ep": ep}
        shown = [axis for axis in ("tp", "cp", "dp", "pp") if axis in degrees]
        folded = " × ".join(shown) or "1"
        all_named = " × ".join([*shown, *(["ep"] if "ep" in degrees else [])])
        if ep == 1:
            inside = dp > 1 and bool(table.values("attention_dp")) and _whole(tp / dp)
            yield Derivation(
                "replicas (SGLang dp)" if inside else "every convention", width * pp, folded, put_in(folded, **values)
            )
            if inside:
                formula = " × ".join(axis for axis in shown if axis != "dp") or "1"
                yield Derivation(_ATTENTION_WIDTH, tp * cp * pp, formula, put_in(formula, **values))
            continue
        if _whole(width / ep):
            yield Derivation(
                "folded (Megatron folding, torchtitan, stage product)", width * pp, folded, put_in(folded, **values)
            )
            if ep == width:
                yield Derivation("vLLM (ep = tp × dp)", width * pp, folded, put_in(folded, **values))
            if "dp" in degrees and _whole(dp / ep):
                yield Derivation(
                    "expert parallelism inside data parallelism (DeepSpeed)",
                    width * pp,
                    folded,
                    put_in(folded, **values),
                )
        if "dp" in degrees and _whole(tp / ep):
            formula = " × ".join(axis for axis in shown if axis != "dp") or "1"
            if _whole(tp / dp):
                yield Derivation(
                    _ATTENTION_WIDTH,
                    tp * cp * pp,
                    formula,
                    put_in(formula, **values),
                )
            yield Derivation("replicas (SGLang dp)", width * pp, folded, put_in(folded, **values))
        yield Derivation(
            "product (expert grid, whole engines replicated)", width * pp * ep, all_named, put_in(all_named, **values)
        )


@once
def folded_is_closed(table: FactTable) -> bool:
    """Whether the document writes enough degrees for its device count to be fixed in every convention."""
    return all(table.values(axis) for axis in ("tp", "pp", "dp")) or (
        bool(table.values("tp") and table.values("dp")) and not table.values("ep")
    )
