import stat
from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers.output import write_whole


def test_writes_and_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_whole(path, "a\n")
    write_whole(str(path), "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.touch()
    path.chmod(0o640)
    write_whole(path, "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    link = tmp_path / "link"
    link.symlink_to("real")
    write_whole(link, "a")
    assert link.is_symlink()
    assert (tmp_path / "real").read_text() == "a"


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_text("before")

    def fail(_source: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SpecError) as caught:
        write_whole(path, "after")
    assert str(caught.value) == f"{path}: cannot be written: no space left on device"
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "is a directory"), ("no/r.json", "no such file or directory"), ("a\0b", "not a file name")],
)
def test_places_that_cannot_be_written_to(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(SpecError, match=f"cannot be written: {reason}"):
        write_whole(f"{tmp_path}/{name}", "a")


def test_a_device_is_written_to_directly() -> None:
    write_whole("/dev/null", "a")
    assert not Path("/dev/null").is_file()
