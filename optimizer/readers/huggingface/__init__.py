"""Reader of Hugging Face `config.json` files: what it does not understand it refuses by name, never guesses."""

from __future__ import annotations

from optimizer.readers.huggingface.reader import SUPPORTED, read_config, read_config_file

__all__ = ["SUPPORTED", "read_config", "read_config_file"]
