"""Kinds of attention word for word those of the tree, under other names, in the union that specs use.

Run as a program, for the union is what it is once models are read: what each engine makes of some models, as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Union, get_args

from pydantic import Field

from optimizer.domain import attention

TWINS = {"gqa": "gqa_twin", "mla": "mla_twin", "compressed": "compressed_twin"}
ENGINES = ("any", "vllm", "vllm@0.10.2", "sglang", "sglang@0.5.2", "trtllm")
SOLVED = ("any", "vllm", "sglang", "trtllm")


def twin_of(kind: str) -> type:
    """The class of a kind, made once more of the text of its file with another name."""
    written = Path(str(import_module(f"optimizer.domain.attention.{kind}").__file__)).read_text()
    copied = sys.modules[TWINS[kind]] = ModuleType(TWINS[kind])
    exec(written.replace(f'"{kind}"', f'"{TWINS[kind]}"'), copied.__dict__)  # noqa: S102 - our own
    found: type = next(value for value in vars(copied).values() if getattr(value, "__module__", "") == TWINS[kind])
    return found


def answers(model: str) -> dict[str, Any]:
    """What `verify` and `solve` say of a model under each engine, and whose kernels it takes."""
    from optimizer.domain.layout import Layout  # noqa: PLC0415 - after the union has its twins
    from optimizer.readers.document import load_text  # noqa: PLC0415
    from optimizer.readers.launch import kernels  # noqa: PLC0415
    from optimizer.readers.read import problem_in  # noqa: PLC0415
    from optimizer.solve import solve  # noqa: PLC0415
    from optimizer.verify.verdict import judge_layout  # noqa: PLC0415

    said: dict[str, Any] = {}
    for engine in ENGINES:
        work = {"phase": "aggregated", "input_tokens": 8000, "output_tokens": 500}
        written = {"model": model, "hardware": "b200-sxm-8", "devices": 8, "workload": work, "engine": engine}
        asked = problem_in(load_text(json.dumps(written), "twins"))
        said[f"{engine}: kernels"] = kernels.kind(asked)
        for tp, cp, dcp in ((8, 1, 1), (8, 1, 4), (4, 2, 1)):
            told = {"decode_context_parallel": dcp, "mtp_tokens": int(asked.model.mtp is not None)}
            problem = asked.changed(workload=asked.workload.model_copy(update=told))
            layout = Layout(
                tp=tp, cp=cp, dp=8 // tp // cp, ep=8 if asked.model.moe else 1, batch=16, prefill_chunk=2048
            )
            said[f"{engine}: tp={tp}, cp={cp}, dcp={dcp}"] = judge_layout(problem, layout).to_json()
        if engine in SOLVED:
            listed = {"tp": (2, 4), "cp": (1,), "pp": (1,), "batch": (4, 32), "prefill_chunk": (1024, 8192)}
            solved = solve(asked.changed(search=asked.search.model_copy(update=listed))).to_json()
            said[f"{engine}: solve"] = [solved[part] for part in ("status", "objective", "layout", "figures")]
    return said


if __name__ == "__main__":
    union, _ = get_args(attention.Attention)
    attention.Attention = Annotated[Union[*get_args(union), *map(twin_of, TWINS)], Field(discriminator="kind")]  # type: ignore[misc]
    sys.stdout.write(json.dumps([answers(model) for model in sys.argv[1:]], default=str))
