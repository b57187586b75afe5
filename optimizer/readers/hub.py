"""Names of the Hugging Face Hub, such as ``Qwen/Qwen3-32B``: a catalog entry, or a config.json in the local cache.

Nothing is fetched: https://huggingface.co/docs/huggingface_hub/guides/manage-cache says where downloads are kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from optimizer.readers.source import exists

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TUNED: Final = re.compile(
    r"-(?:instruct|1m|\d+k|it|pt|sft|rl|zero|chat|hf|base|v\d+(?:\.\d+|-\d)?|\d{4}|dynamic|thinking|reasoning(?:-plus)?|preview|"
    r"original|w8a8|terminus|exp|speciale)$"
)
"""Endings of names whose checkpoints have the shapes of the model without: how it was tuned, and when."""
_BASES: Final = tuple(
    (re.compile(pattern), base)
    for pattern, base in (
        (r"-17b-(?:16|128)e$", ""),
        (r"^(qwen[\d.]+)-coder-", r"\1-"),
        (r"^qwen3\.6-35b-a3b$", "qwen3.5-35b-a3b"),
        (r"^qwen3\.8-27b$", "qwen3.6-27b"),
        (r"^qwq-32b$", "qwen2.5-32b"),
        (r"^deepseek-r1-distill-qwen-", "qwen2.5-"),
        (r"^deepseek-r1-distill-llama-8b$", "llama-3.1-8b"),
        (r"^deepseek-r1-distill-llama-70b$", "llama-3.3-70b"),
        (r"^mistral-small-3\.2-", "mistral-small-3.1-"),
        (r"^kimi-k2\.(?:6|7-code)$", "kimi-k2.5"),
        (r"^minimax-m2\.1$", "minimax-m2"),
        (r"^llama-3-[13]-nemotron-", "nemotron-"),
        (r"^mistral-nemo$", "mistral-nemo-12b"),
        (r"^mistral-large$", "mistral-large-2"),
        (r"^bloomz?$", "bloom-176b"),
        (r"^olmo-2-\d{4}-", "olmo-2-"),
    )
)
"""Names whose checkpoints have the shapes of a model of another name, as their cards say, and that model's."""
_MAKERS: Final = re.compile(r"^(?:meta|nvidia|mistralai|mistral-community|tencent)-")
FORMATS: Final = {
    "fp8": "fp8", "fp8-dynamic": "fp8", "w8a8": "fp8", "nvfp4": "nvfp4", "fp4": "nvfp4", "mxfp4": "mxfp4",
    "mxfp8": "mxfp8", "awq": "int4", "gptq": "int4", "gptq-int4": "int4", "int4": "int4", "w4a16": "int4",
    "int8": "int8", "bf16": "bf16", "quantized.w4a16": "int4", "quantized.w8a8": "int8",
    "quantized.w8a16": "int8_channel", "gptq-int8": "int8_g128", "int4-autoround": "int4", "fp8-block": "fp8_block",
    "bnb-4bit": "nf4", "unsloth-bnb-4bit": "nf4",
}  # fmt: skip
"""Endings of names that say a format of the weights."""
_FORMAT: Final = re.compile(
    rf"-(?:{'|'.join(map(re.escape, sorted(FORMATS, key=len, reverse=True)))})(?:-v\d|-preview)?$"
)
"""One of them, and which attempt at it."""
_TUNED_RELEASE: Final = re.compile(r"-(?:instruct|chat|it)(?=-v\d+(?:\.\d+)*$)")
"""What a release was tuned for, before its number."""
_UNDESCRIBED: Final = {
    # huggingface.co/moonshotai/Kimi-K3 config.json: attn_res_block_size, mla_use_output_gate, use_full_rank_gate
    "kimik3": "attention residuals, gated latent attention, and delta attention with gates of full rank",
    # huggingface.co/deepseek-ai/DeepSeek-V4.1-Flash: 8B active parameters read a prompt, 16B write the answer
    "deepseekv41": "a causal encoder and decoder, so that prompt and answer run different layers",
    # huggingface.co/zai-org/GLM-5.3-Flash: sparse and linear attention with manifold-constrained hyper-connections
    "glm53flash": "sparse and linear attention in one model, with hyper-connections",
    # huggingface.co/stepfun-ai/Step-3.5-Flash and Step-3.7-Flash: use_head_wise_attn_gate, attention_other_setting
    "step35": "a gate for each head, and sliding layers with more heads than full ones",
    "step37": "a gate for each head, and sliding layers with more heads than full ones",
}
"""Published models, by the start of their folded names, with parts that no kind of layer here has."""


def is_hub_name(reference: str | Path) -> bool:
    """Whether a reference reads as ``owner/name`` of the Hub and is no file here."""
    if not isinstance(reference, str) or reference.endswith((".yaml", ".yml", ".json")):
        return False
    return _NAME.fullmatch(reference) is not None and not exists(reference)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _name_of(reference: str) -> str:
    """A checkpoint's name without its owner, in one spelling."""
    return _MAKERS.sub("", reference.rstrip("/").rsplit("/", 1)[-1].casefold().replace("_", "-"))


def spellings(reference: str) -> tuple[str, ...]:
    """A checkpoint's folded name, then without the formats of its weights, which change nothing else."""
    name, found = _name_of(reference), []
    while name:
        found.append(_folded(name))
        shorter = _FORMAT.sub("", name)
        if shorter == name:
            break
        name = shorter
    return tuple(found)


def entry_of(reference: str, entries: Sequence[str]) -> tuple[str, str | None] | None:
    """Catalog entry of the same shapes, by the name alone, and the format of weights that its ending adds.

    The owner is left out, and endings such as ``-Instruct``, dates and formats, until what is left names an entry.
    """
    known = {_folded(entry): entry for entry in entries}
    name = _name_of(reference)
    weights: str | None = None
    while name:
        # "Mistral-7B-Instruct-v0.3" is tuned from "Mistral-7B-v0.3", whose shapes may be its own
        known_entry = known.get(_folded(name)) or known.get(_folded(_TUNED_RELEASE.sub("", name)))
        if known_entry is not None:
            quantised = known.get(_folded(f"{name}-{weights}"))
            if quantised is not None:
                return quantised, None
            return known_entry, None if any(known_entry.endswith(f"-{end}") for end in FORMATS) else weights
        ending = next((end for end in sorted(FORMATS, key=len, reverse=True) if name.endswith(f"-{end}")), None)
        if ending is not None:
            weights = weights or FORMATS[ending]
            name = name.removesuffix(f"-{ending}")
            continue
        shorter = _TUNED.sub("", name)
        if shorter == name:
            shorter = next((p.sub(base, name) for p, base in _BASES if p.search(name)), name)
        if shorter == name:
            return None
        name = shorter
    return None


def cached_config(reference: str) -> Path | None:
    """``config.json`` of a download: of the revision ``main`` where that is known, else of one that is there."""
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("HF_HUB_CACHE") or (f"{home}/hub" if home else "~/.cache/huggingface/hub")
    folder = Path(cache).expanduser() / f"models--{reference.replace('/', '--')}"
    main, snapshots = folder / "refs" / "main", folder / "snapshots"
    try:
        newest = [snapshots / main.read_text(encoding="utf-8").strip()] if main.is_file() else []
        revisions = [*newest, *sorted(snapshots.iterdir())]
    except (OSError, ValueError):
        return None
    return next((file for revision in revisions if (file := revision / "config.json").is_file()), None)


def undescribed(reference: str) -> str | None:
    """What to do for a published model that no file can describe; None: it is none that is known to be so."""
    folded = _folded(reference.rsplit("/", 1)[-1])
    has = next((has for start, has in _UNDESCRIBED.items() if folded.startswith(start)), None)
    return (
        None
        if has is None
        else (
            f"has {has}: no kind of layer here is like that, and its config.json is not read either. "
            "A model YAML of the nearest layers that there are is a stand-in: `shardproof schema model`"
        )
    )


def how_to_get(reference: str) -> str:
    """What to do for a name of the Hub that is not here."""
    known = undescribed(reference)
    if known is not None:
        return known
    folder = reference.partition("/")[2]
    return (
        f"is neither in the catalog nor in the local cache of the Hugging Face Hub, and nothing is fetched: "
        f"`hf download {reference} config.json --local-dir {folder}`, then give {folder}/config.json"
    )
