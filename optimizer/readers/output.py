"""Files are written whole or not at all."""

import os
import stat
import tempfile
from pathlib import Path

from optimizer.errors import Fault, SpecError


def _refused(path: str | Path, error: OSError | ValueError) -> SpecError:
    reason = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
    return SpecError(Fault(ascii(str(path))[1:-1], None, None, None, f"cannot be written: {reason.lower()}"))


def write_whole(path: str | Path, text: str) -> None:
    """Write a UTF-8 file so that a reader sees all of ``text`` or what was there before, never a part.

    A symbolic link is followed, permissions of a file that exists are kept, and what is no regular file (a pipe,
    ``/dev/stdout``) is written to directly.

    Raises
    ------
    SpecError
        The place cannot be written to.
    """
    content = text.encode()
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            target.write_bytes(content)
            return
        _replace(target, content, mode)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from None


def _replace(target: Path, content: bytes, mode: int | None) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=".part", dir=target.parent)
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
