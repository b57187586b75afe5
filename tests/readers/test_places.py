import pytest

from optimizer.readers.places import PathStep, contains, dotted


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ((), None),
        (("a",), "a"),
        (("a", 0, "b", "c"), "a[0].b.c"),
        ((2, "b"), "[2].b"),
        (("a\nb",), r"'a\nb'"),
        (("",), "''"),
        (tuple(range(60)), "".join(f"[{i}]" for i in range(60))[:100] + "..."),
        (("x" * 100,), "x" * 57 + "..."),
    ],
)
def test_dotted_names_stay_on_one_short_line(at: tuple[PathStep, ...], name: str | None) -> None:
    assert dotted(at) == name


def test_contains() -> None:
    assert contains({"a": 1}, "a")
    assert contains([1], 0)
    assert not contains([1], 1)
    assert not contains([1], -1)
    assert not contains("a", 0)
    assert not contains({"a": 1}, "b")
