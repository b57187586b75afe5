"""Counts of a layout: degrees, devices, experts in three ways, parameters by component."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction

from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.figures.derivation_figure import Sheet
from optimizer.figures.parameters import ParameterTable, parameter_table
from optimizer.figures.serving import Evaluation
from optimizer.units import Dimension

DEGREES = ("tp", "cp", "dp", "pp", "etp", "ep", "edp")


def degrees(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """Degrees, devices, replicas, stages."""
    layout = evaluation.layout
    for axis in DEGREES:
        sheet.count(axis, getattr(layout, axis), "as the layout says")
    sheet.count(
        "devices",
        layout.devices,
        "tp · cp · dp · pp",
        f"{layout.tp} · {layout.cp} · {layout.dp} · {layout.pp}",
        tp=layout.tp,
        cp=layout.cp,
        dp=layout.dp,
        pp=layout.pp,
    )
    sheet.count(
        "idle_devices",
        max(0, problem.devices - layout.devices),
        "devices there are − devices of the layout",
        f"{problem.devices} − {layout.devices}",
    )
    sheet.count(
        "devices_per_replica",
        layout.replica_devices,
        "lcm(tp · cp, etp · ep) · pp",
        f"lcm({layout.tp} · {layout.cp}, {layout.etp} · {layout.ep}) · {layout.pp}",
    )
    sheet.count(
        "replicas",
        layout.replicas,
        "devices ÷ devices of a replica",
        f"{layout.devices} ÷ {layout.replica_devices}",
    )
    sheet.count("batch", layout.batch, "sequences in flight on each attention data-parallel rank, as the layout says")
    sheet.count(
        "sequences_in_flight",
        layout.batch * layout.dp,
        "batch · dp",
        f"{layout.batch:,} · {layout.dp:,}",
    )
    if evaluation.running < layout.batch:
        sheet.count(
            "running_sequences",
            evaluation.running,
            "least batch of a rank that serves the request rate (Little's law); TTFT and TPOT are with it in flight",
        )
    sheet.count("layers", problem.model.layer_count, "layers of the main stack")
    cuts = ", ".join(map(str, evaluation.cuts))
    cuts = f"max({cuts})" if layout.pp > 1 else cuts
    sheet.count("layers_per_stage", max(evaluation.cuts), "layers of the longest stage", cuts)
    nodes = -(-layout.devices // problem.hardware.devices_per_node)
    sheet.count(
        "nodes",
        nodes,
        "ceil(devices ÷ devices a node)",
        f"ceil({layout.devices} ÷ {problem.hardware.devices_per_node})",
    )


def experts(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """Experts of the device that holds most bytes, counted in three ways; nothing for a dense model."""
    moe, shape = problem.model.moe, evaluation.shape
    if moe is None:
        return
    physical = moe.experts + shape.redundant
    local = shape.local_experts(moe.experts)
    held = f"({moe.experts} + {shape.redundant} redundant)" if shape.redundant else str(moe.experts)
    sheet.count("experts_per_layer", moe.experts, "routed experts of one MoE layer")
    sheet.count("experts_per_token", moe.top_k, "routed experts that a token uses")
    sheet.count("moe_layers", problem.model.moe_layer_count, "layers with routed experts")
    sheet.count(
        "experts_resident_per_layer",
        min(local, moe.experts),
        "ceil(experts ÷ ep): distinct experts of one layer with any shard on the device",
        f"ceil({held} ÷ {shape.ep})",
        experts=physical,
        ep=shape.ep,
    )
    fullest = max(range(len(evaluation.memory)), key=lambda stage: evaluation.memory[stage].total_bytes)
    first = sum(evaluation.cuts[:fullest])
    names = problem.model.layer_names[first : first + evaluation.cuts[fullest]]
    moes = [m for name in names if (m := problem.model.blocks[name].moe) is not None]
    instances, most = sum(shape.local_experts(m.experts) for m in moes), len(moes)
    sheet.count(
        "expert_instances",
        instances,
        "experts resident per layer · MoE layers of the stage",
        f"{local} · {most}",
        resident=local,
        moe_layers=most,
    )
    sheet.put(
        "expert_equivalents",
        Fraction(instances, shape.etp),
        Dimension.COUNT,
        "expert instances ÷ etp: bytes held ÷ bytes of a whole expert",
        f"{instances} ÷ {shape.etp}",
        inputs={"expert_instances": instances, "etp": shape.etp},
    )


def parameters(sheet: Sheet, model: ModelSpec, table: ParameterTable | None = None) -> None:
    """Parameters in all, active, and by component."""
    table = table or parameter_table(model)
    parts = {field.name: getattr(table.components, field.name) for field in fields(table.components)}
    nonzero = {name: size for name, size in parts.items() if size}
    sheet.put(
        "parameters",
        table.total,
        Dimension.COUNT,
        " + ".join(nonzero),
        " + ".join(f"{size:,}" for size in nonzero.values()),
        inputs=nonzero,
    )
    moe = model.moe
    active_experts = parts["experts"] - (table.total - table.active_with_embedding)
    sheet.put(
        "active_parameters",
        table.active_with_embedding,
        Dimension.COUNT,
        "parameters − routed experts that a token does not use" if moe else "parameters (all are active)",
        f"{table.total:,} − ({parts['experts']:,} − {active_experts:,})" if moe else f"{table.total:,}",
    )
    sheet.put(
        "active_parameters_without_embedding",
        table.active_without_embedding,
        Dimension.COUNT,
        "active parameters − input embedding",
        f"{table.active_with_embedding:,} − {parts['embeddings']:,}",
    )
    for name, size in parts.items():
        sheet.put(f"{name}_parameters", size, Dimension.COUNT, f"elements of {name}", inputs={name: size})
    if moe is not None:
        per_expert = parts["experts"] // sum(m.experts for n in model.layer_names if (m := model.blocks[n].moe))
        up = 3 if moe.gated else 2
        width = moe.expert_width(model.hidden_size)
        plain = up * width * moe.intermediate
        sheet.put(
            "parameters_per_expert",
            per_expert,
            Dimension.COUNT,
            "matrices · width · intermediate" + " + biases" * moe.bias,
            f"{up} · {width:,} · {moe.intermediate:,}" + f" + {per_expert - plain:,}" * moe.bias,
            inputs={"matrices": up, "width": width, "intermediate": moe.intermediate},
        )
    if table.mtp:
        sheet.put("mtp_parameters", table.mtp, Dimension.COUNT, "elements of the multi-token-prediction layers")
    copies = " with their copies of embedding and head" if table.mtp_copies else ""
    sheet.put(
        "checkpoint_parameters",
        table.checkpoint,
        Dimension.COUNT,
        f"all stored elements: parameters + MTP layers{copies} + buffers + vision",
        f"{table.total:,} + {table.mtp + table.mtp_copies:,} + {table.buffers:,} + {table.vision:,}",
    )
