"""PyTorch files: pickles, which run whatever their writer wants and are not read, and how to turn them into JSON."""

from pathlib import Path

from optimizer.errors import Fault, SpecError

_SUFFIXES = (".pt", ".pth", ".pkl")


def refuse_pickled(name: str, key: str, what: str) -> None:
    """Refuse a PyTorch file by its name.

    Parameters
    ----------
    name
        Path.
    key
        Key of the JSON object that is read instead.
    what
        What the file holds, in words.

    Raises
    ------
    SpecError
        It is one that exists; with the one line that converts it.
    """
    path = Path(name)
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return
    turned = path.with_suffix(".json")
    line = (
        "python -c 'import json, torch; "
        f'd = torch.load("{path}", map_location="cpu", weights_only=True); '
        'plain = lambda v: v.tolist() if hasattr(v, "tolist") else {k: plain(x) for k, x in v.items()} '
        "if isinstance(v, dict) else [plain(x) for x in v] if isinstance(v, (list, tuple)) else v; "
        f'json.dump(plain(d) if isinstance(d, dict) else {{"{key}": plain(d)}}, open("{turned}", "w"))\''
    )
    raise SpecError(
        Fault(
            str(path), None, None, None, f"is a PyTorch file ({what}), a pickle, which is not read; convert it: {line}"
        )
    )
