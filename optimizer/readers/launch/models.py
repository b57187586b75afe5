"""Names of models on the Hub and in folders, as the catalog knows them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from optimizer.readers import catalog

FORMATS: Final = {
    "fp8": "fp8", "fp8-dynamic": "fp8", "w8a8": "fp8", "nvfp4": "nvfp4", "fp4": "nvfp4", "mxfp4": "mxfp4",
    "awq": "int4", "gptq": "int4", "gptq-int4": "int4", "int4": "int4", "w4a16": "int4", "int8": "int8", "bf16": "bf16",
}  # fmt: skip
"""Endings of names that say a format of the weights."""

_PLAIN: Final = re.compile(
    r"-(instruct|it|chat|hf|base|v\d+(\.\d+)?|\d{4}|dynamic|thinking|reasoning|preview|original|w8a8|terminus|exp|speciale)$"
)
_ORGANISATION: Final = re.compile(r"^(meta-|nvidia-|mistralai-)")


@cache
def _folded() -> dict[str, str]:
    return {_fold(name): name for name in catalog.names("models")}


def _fold(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def catalog_name(given: str) -> tuple[str, str | None] | None:
    """Catalog entry that a name means, and the format of weights that its ending adds; None: none does.

    The owner is left out, and endings such as ``-Instruct``, dates and formats, as long as what is left names an entry.
    """
    name = _ORGANISATION.sub("", given.rstrip("/").rsplit("/", 1)[-1].casefold().replace("_", "-"))
    weights: str | None = None
    while name:
        found = _folded().get(_fold(name))
        if found is not None:
            quantised = _folded().get(_fold(f"{name}-{weights}"))
            if quantised is not None:
                return quantised, None
            return found, None if any(found.endswith(f"-{end}") for end in FORMATS) else weights
        ending = next((end for end in sorted(FORMATS, key=len, reverse=True) if name.endswith(f"-{end}")), None)
        if ending is not None:
            weights = weights or FORMATS[ending]
            name = name.removesuffix(f"-{ending}")
            continue
        shorter = _PLAIN.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return None


def local_config(given: str) -> Path | None:
    """``config.json`` of a model's folder on this machine."""
    try:
        found = Path(given) / "config.json"
        return found if found.is_file() else None
    except (OSError, ValueError):
        return None
