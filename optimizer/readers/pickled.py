"""PyTorch files: pickles, of which only tensors and plain values are read, by PyTorch itself where it is installed."""

import importlib
import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimizer.errors import Fault, SpecError
from optimizer.readers.source import is_file

_SUFFIXES = (".pt", ".pth", ".pkl")
MOST_NUMBERS = 64 * 2**20
_STEPS, _STEPS_KEY = 3, "logical_count"


def read_pickled(name: str, key: str, what: str) -> tuple[str, str] | None:
    """JSON text of a PyTorch file and the name to show for it; ``None`` if it is none by its name.

    ``torch.load(weights_only=True)`` runs nothing of what the file says. Steps of ``logical_count`` are added up.

    Parameters
    ----------
    name
        Path.
    key
        Key under which a tensor stands that is the whole file.
    what
        What the file should hold, in words.

    Raises
    ------
    SpecError
        PyTorch is not installed (with the line that converts the file elsewhere), or the file holds anything else.
    """
    path = Path(name)
    if path.suffix.lower() not in _SUFFIXES or not is_file(path):
        return None
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        raise SpecError(Fault(str(path), None, None, None, _advice(path, key, what))) from None
    try:
        with warnings.catch_warnings():
            # It warns of protocols that it may not read; what it does not read, it refuses.
            warnings.simplefilter("ignore")
            data = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        message = f"is not a PyTorch file of tensors and plain values ({what}): {reason}"
        raise SpecError(Fault(str(path), None, None, None, message)) from None
    if not isinstance(data, Mapping):
        data = {key: data}
    counts = data.get(_STEPS_KEY)
    if hasattr(counts, "dim") and counts.dim() == _STEPS:
        data = {**data, _STEPS_KEY: counts.sum(0)}
    return json.dumps(_plain(data)), f"{path} (as JSON)"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a file holds
    if hasattr(value, "tolist"):
        # A tensor may repeat one stored number any number of times.
        if value.numel() > MOST_NUMBERS:
            raise SpecError(f"a tensor of {value.numel():,} numbers, more than {MOST_NUMBERS:,}")
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _advice(path: Path, key: str, what: str) -> str:
    turned = path.with_suffix(".json")
    line = (
        "python -c 'import json, torch; "
        f'd = torch.load("{path}", map_location="cpu", weights_only=True); '
        'plain = lambda v: v.tolist() if hasattr(v, "tolist") else {k: plain(x) for k, x in v.items()} '
        "if isinstance(v, dict) else [plain(x) for x in v] if isinstance(v, (list, tuple)) else v; "
        f'json.dump(plain(d) if isinstance(d, dict) else {{"{key}": plain(d)}}, open("{turned}", "w"))\''
    )
    return (
        f"is a PyTorch file ({what}), read with the package torch: pip install 'shardproof[torch]'; "
        f"or convert it where torch is: {line}"
    )
