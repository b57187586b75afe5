"""Names of the Hugging Face Hub, such as ``Qwen/Qwen3-32B``: a catalog entry, or a config.json in the local cache.

Nothing is fetched: https://huggingface.co/docs/huggingface_hub/guides/manage-cache says where downloads are kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TUNED: Final = re.compile(r"-(?:instruct|it|chat|base|thinking|reasoning|hf|bf16|\d{4}|v\d(?:\.\d)?)$")
"""Endings of names whose checkpoints have the shapes of the model without: how it was tuned, and when."""
_MAKERS: Final = re.compile(r"^(?:meta|nvidia|mistral-community)-(?=llama|nemotron|mistral)")


def is_hub_name(reference: str | Path) -> bool:
    """Whether a reference reads as ``owner/name`` of the Hub and is no file here."""
    if not isinstance(reference, str) or reference.endswith((".yaml", ".yml", ".json")):
        return False
    return _NAME.fullmatch(reference) is not None and not Path(reference).exists()


def entry_of(reference: str, entries: Sequence[str]) -> str | None:
    """Catalog entry of the same shapes, by the name alone: tuned models count as the one they were tuned from."""
    name = _MAKERS.sub("", reference.partition("/")[2].lower())
    while name not in entries:
        shorter = _TUNED.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return name


def cached_config(reference: str) -> Path | None:
    """``config.json`` of a download, of the revision ``main`` where that is known."""
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("HF_HUB_CACHE") or (f"{home}/hub" if home else "~/.cache/huggingface/hub")
    folder = Path(cache).expanduser() / f"models--{reference.replace('/', '--')}"
    try:
        newest = folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        revisions = [newest, *sorted((folder / "snapshots").iterdir())]
    except (OSError, ValueError):
        return None
    return next((file for revision in revisions if (file := revision / "config.json").is_file()), None)


def how_to_get(reference: str) -> str:
    """What to do for a name of the Hub that is not here."""
    folder = reference.partition("/")[2]
    return (
        f"is neither in the catalog nor in the local cache of the Hugging Face Hub, and nothing is fetched: "
        f"`hf download {reference} config.json --local-dir {folder}`, then give {folder}/config.json"
    )
