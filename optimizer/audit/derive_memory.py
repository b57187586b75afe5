"""Parameters and bytes that follow from stated shapes, and from stated totals."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from optimizer.audit.derive import Derivation, FactTable, deduplicated, once, put_in
from optimizer.audit.derive_experts import expert_readings, experts_total

_SHAPE: Final = ("expert_matrices", "hidden_size", "expert_hidden_size")
LARGEST_VOCABULARY: Final = 1_000_000
"""No tokenizer in use has a larger one; bounds what embeddings can add to a parameter count (assumed)."""


@once
def parameters_per_expert(table: FactTable) -> list[Derivation]:
    """Matrices times the two dimensions of one expert."""
    found = []
    for facts in table.combinations(_SHAPE):
        if len(facts) == len(_SHAPE):
            formula = "expert_matrices × hidden_size × expert_hidden_size"
            value = facts["expert_matrices"] * facts["hidden_size"] * facts["expert_hidden_size"]
            found.append(Derivation("one expert", value, formula, put_in(formula, **facts)))
    return deduplicated(found)


def _instances(table: FactTable) -> list[Derivation]:
    """Expert instances of the whole model, also from experts per device times devices."""
    found = [item for item in experts_total(table) if item.reading.startswith("expert instances")]
    if not found and (total := table.one("experts_total")) is not None:
        found.append(Derivation("expert instances of the model", total, "experts_total", str(total)))
    if not found:
        for facts in table.combinations(("experts", "devices")):
            if len(facts) == 2:
                formula = "experts × devices"
                found.append(
                    Derivation("experts per device on every device", facts["experts"] * facts["devices"], formula,
                               put_in(formula, **facts), ("no expert is held twice",))
                )  # fmt: skip
    return found


@once
def expert_parameters(table: FactTable) -> list[Derivation]:
    """All experts of the model."""
    return deduplicated(
        Derivation("all experts", one.value * many.value, f"{many.formula} × {one.formula}",
                   f"{many.substituted} × {one.substituted}", many.assumes)
        for one in parameters_per_expert(table)
        for many in _instances(table)
    )  # fmt: skip


@once
def attention_parameters(table: FactTable) -> list[Derivation]:
    """Q, K, V and O projections of every layer, with heads × head size equal to the hidden size."""
    found = []
    for facts in table.combinations(("layers", "hidden_size", "attention_heads")):
        if "layers" in facts and "hidden_size" in facts:
            formula = "layers × 4 × hidden_size × hidden_size"
            value = facts["layers"] * 4 * facts["hidden_size"] ** 2
            found.append(
                Derivation("attention", value, formula, put_in(formula, **facts), ("heads × head size = hidden size",))
            )
    return deduplicated(found)


@once
def parameter_bounds(table: FactTable) -> tuple[Derivation, Derivation] | None:
    """Fewest and most parameters the stated shapes allow: without embeddings, and with two tables of a million rows."""
    experts, attention = expert_parameters(table), attention_parameters(table)
    if len(experts) != 1 or len(attention) != 1:
        return None
    hidden = table.one("hidden_size") or Fraction(0)
    least = experts[0].value + attention[0].value
    formula = f"{experts[0].formula} + {attention[0].formula}"
    numbers = f"{experts[0].substituted} + {attention[0].substituted}"
    rows = table.one("vocabulary") or Fraction(LARGEST_VOCABULARY)
    extra = 2 * rows * hidden + least / 20
    return (
        Derivation("experts and attention", least, formula, numbers, attention[0].assumes),
        Derivation("with embeddings", least + extra, f"{formula} + 2 × vocabulary × hidden_size + 5 %",
                   f"{numbers} + 2 × {rows} × {hidden} + 5 %", ("5 % for routers and norms",)),
    )  # fmt: skip


def _bytes_each(table: FactTable) -> list[Fraction]:
    return table.values("bytes_per_parameter") or [value for value in table.values("precision") if value > 0]


@once
def expert_weights(table: FactTable) -> list[Derivation]:
    """Bytes of the experts on one device, for each count of experts per device."""
    return deduplicated(_expert_weights(table))


def _expert_weights(table: FactTable) -> Iterator[Derivation]:
    counts = [
        (item.reading, item.value, item.formula, item.substituted)
        for item in expert_readings(table)
        if "per layer" not in item.reading and "resident" not in item.reading
    ]
    counts += [("experts as written", value, "experts", str(value)) for value in table.values("experts")]
    for one in parameters_per_expert(table):
        for width in _bytes_each(table):
            for reading, count, formula, substituted in counts:
                yield Derivation(
                    f"{reading} of whole "
                    "experts", count * one.value * width, f"{formula} × {one.formula} × bytes_per_parameter",
                    f"{substituted} × {one.substituted} × {width}",
                )  # fmt: skip


@once
def expert_weights_total(table: FactTable) -> list[Derivation]:
    """Bytes of all experts of the model."""
    return deduplicated(
        Derivation(
            "all experts once",
            item.value * width,
            f"{item.formula} × bytes_per_parameter",
            f"{item.substituted} × {width}",
            item.assumes,
        )
        for item in expert_parameters(table)
        for width in _bytes_each(table)
    )


@once
def weights_per_device(table: FactTable) -> list[Derivation]:
    """Weights per device: nothing replicated, and attention replicated over all but its tensor-parallel group."""
    return deduplicated(_weights_per_device(table))


def _weights_per_device(table: FactTable) -> Iterator[Derivation]:
    for facts in table.combinations(("parameters", "devices")):
        if len(facts) < 2 or facts["devices"] <= 0:
            continue
        for width in _bytes_each(table):
            formula = "parameters × bytes_per_parameter / devices"
            yield Derivation(
                "nothing replicated: attention and embeddings too are split over all devices",
                facts["parameters"] * width / facts["devices"], formula,
                put_in(formula, **facts, bytes_per_parameter=width),
            )  # fmt: skip
    experts, attention = expert_parameters(table), attention_parameters(table)
    tp, devices = table.one("tp"), table.one("devices")
    if len(experts) == 1 and len(attention) == 1 and tp and devices:
        pp = table.one("pp") or Fraction(1)
        for width in _bytes_each(table):
            value = (experts[0].value / devices + attention[0].value / (tp * pp)) * width
            yield Derivation(
                "experts split over all devices, attention split over tp only and replicated", value,
                "(expert_parameters / devices + attention_parameters / (tp × pp)) × bytes_per_parameter",
                f"({experts[0].value} / {devices} + {attention[0].value} / ({tp} × {pp})) × {width}",
                ("embeddings and routers left out",),
            )  # fmt: skip


@once
def model_weights(table: FactTable) -> list[Derivation]:
    """All weights of the model, once."""
    return deduplicated(
        Derivation("all weights once", value * width, "parameters × bytes_per_parameter", f"{value} × {width}")
        for value in table.values("parameters")
        for width in _bytes_each(table)
    )
