"""Conventions by which documents write a layout: what each engine or author means by TP, DP and EP.

Each reads four to seven numbers as the two meshes ``tp·cp·dp = etp·ep·edp``. Sources: vLLM 0.33.0 config/parallel.py;
SGLang 0.5.23 server_args.py and runtime_context.py; TensorRT-LLM mapping.py; Megatron-LM core 0.20 parallel_state.py
and arXiv 2504.14960; DeepSpeed 0.19.8 utils/groups.py; torchtitan parallel_dims.py; aiconfigurator config_adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Convention = Literal[
    "folded",
    "product",
    "vllm",
    "sglang",
    "sglang-replicas",
    "trtllm",
    "megatron",
    "deepspeed",
    "fsdp",
    "stage-product",
    "expert-grid",
    "replica-outer",
]


@dataclass(frozen=True, slots=True)
class Degrees:
    """Degrees as written; None where the author gave none."""

    tp: int
    cp: int
    dp: int
    pp: int
    etp: int | None
    ep: int | None
    edp: int | None

    @property
    def stage(self) -> int:
        """tp·cp·dp."""
        return self.tp * self.cp * self.dp


GivenDegrees = Mapping[str, int]
"""Every degree by name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One convention: how it counts devices, and how it reads the meshes.

    Attributes
    ----------
    devices
        Its device count, for people.
    engine
        Engine whose validity rules it brings along.
    read
        Both meshes; ValueError where the numbers contradict the convention.
    """

    devices: str
    read: Callable[[Degrees], GivenDegrees]
    engine: str | None = None


def quotient(noun: str, number: int, divisor: int) -> int:
    """Exact quotient.

    Raises
    ------
    ValueError
        It is not whole.
    """
    if number % divisor:
        raise ValueError(f"{noun}: {divisor} does not divide {number}")
    return number // divisor


def _on(degrees: Degrees, *, tp: int, dp: int, etp: int, ep: int, edp: int | None = None) -> GivenDegrees:
    stage = tp * degrees.cp * dp
    copies = max(1, stage // (etp * ep)) if edp is None else edp
    return {"tp": tp, "cp": degrees.cp, "dp": dp, "pp": degrees.pp, "etp": etp, "ep": ep, "edp": copies}


def _folded(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    if d.etp is not None:
        etp = d.etp
    elif d.edp is not None:
        etp = max(1, d.stage // (ep * d.edp))
    else:
        etp = max(1, min(d.tp, d.stage // ep))
    return _on(d, tp=d.tp, dp=d.dp, etp=etp, ep=ep, edp=d.edp)


def _vllm(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    etp = d.etp or (1 if ep > 1 else d.stage // (d.edp or 1))
    return _on(d, tp=d.tp, dp=d.dp, etp=etp, ep=ep, edp=d.edp)


def _product(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    edp = d.edp or d.dp * (d.cp if d.etp is None else 1)
    return _on(d, tp=d.tp, dp=ep * d.dp, etp=d.etp or d.tp, ep=ep, edp=edp)


def _width(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    width = quotient("attention data parallelism divides the tensor-parallel width, dp into tp", d.tp, d.dp)
    etp = d.etp or quotient("expert parallelism divides the tensor-parallel width, ep into tp", d.tp, ep)
    return _on(d, tp=width, dp=d.dp, etp=etp, ep=ep, edp=d.edp)


def _trtllm(d: Degrees) -> GivenDegrees:
    if d.dp not in {1, d.tp}:
        raise ValueError(f"attention data parallelism is all or nothing: dp={d.dp} is neither 1 nor tp={d.tp}")
    return _width(d)


def _replicas(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    etp = d.etp or quotient("ep into tp", d.tp, ep)
    return _on(d, tp=d.tp, dp=d.dp, etp=etp, ep=ep, edp=d.edp)


def _megatron(d: Degrees) -> GivenDegrees:
    ep, etp = d.ep or 1, d.etp or d.tp
    edp = d.edp or quotient("etp · ep into tp · cp · dp", d.stage, etp * ep)
    return _on(d, tp=d.tp, dp=d.dp, etp=etp, ep=ep, edp=edp)


def _deepspeed(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    edp = d.edp or quotient("ep is a subgroup of dp", d.dp, ep) * d.cp
    return _on(d, tp=d.tp, dp=d.dp, etp=d.etp or d.tp, ep=ep, edp=edp)


def _fsdp(d: Degrees) -> GivenDegrees:
    ep, etp = d.ep or 1, d.etp or 1
    return _on(d, tp=d.tp, dp=d.dp, etp=etp, ep=ep, edp=d.edp or quotient("ep into dp · cp · tp", d.stage, etp * ep))


def _stage_product(d: Degrees) -> GivenDegrees:
    ep = d.ep or 1
    return _on(d, tp=d.tp, dp=d.dp, etp=d.etp or quotient("ep into tp · dp", d.stage, ep), ep=ep, edp=d.edp or 1)


CONVENTIONS: dict[Convention, Rule] = {
    "folded": Rule("tp · cp · dp · pp", _folded),
    "product": Rule("tp · cp · pp · ep · dp", _product),
    "vllm": Rule("tp · cp · dp · pp", _vllm, "vllm"),
    "sglang": Rule("tp · cp · pp", _width, "sglang"),
    "sglang-replicas": Rule("tp · dp · pp", _replicas, "sglang"),
    "trtllm": Rule("tp · cp · pp", _trtllm, "trtllm"),
    "megatron": Rule("tp · cp · dp · pp", _megatron, "megatron"),
    "deepspeed": Rule("tp · dp · pp", _deepspeed),
    "fsdp": Rule("tp · cp · dp · pp", _fsdp, "fsdp"),
    "stage-product": Rule("tp · dp · pp", _stage_product),
    # An expert grid's author means expert data parallelism by DP; launched servers of TP · EP devices count DP copies.
    "expert-grid": Rule("tp · ep · dp · pp", _product),
    "replica-outer": Rule("dp · pp · (tp · ep)", _product),
}
"""Every convention by name."""

assert set(CONVENTIONS) == set(get_args(Convention))  # noqa: S101 - the table is complete
