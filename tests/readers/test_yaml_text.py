import pytest

from optimizer.errors import SpecError
from optimizer.readers.yaml_text import MOST_VALUES, read_yaml


def fault_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        read_yaml(text, "f.yaml")
    return str(caught.value)


def test_values_follow_yaml_1_2() -> None:
    data, _ = read_yaml(
        "{a: 1, b: 1.5, c: yes, d: true, e: null, f: ~, g: '1', h: 010, i: 0x10, j: 0o17, k: 1_000, l: 12:30:00,"
        " m: 1e3, n: 2.5e-3, o: 1.5e3, p: , q: 80 GB, r: '2026-01-01', s: 2026-01-01, t: -3}",
        "f.yaml",
    )
    assert list(data.values())[:10] == [1, 1.5, "yes", True, None, None, "1", 10, 16, 15]
    assert list(data.values())[10:16] == [1000, "12:30:00", 1000, 0.0025, 1500, None]
    assert list(data.values())[16:] == ["80 GB", "2026-01-01", "2026-01-01", -3]
    assert type(data["m"]) is int


def test_keys_are_text() -> None:
    assert read_yaml("{1: a, true: b, null: c}", "f.yaml")[0] == {"1": "a", "true": "b", "null": "c"}


def test_places() -> None:
    _, places = read_yaml("name: x\nlayers:\n  - count: 3\n  - {count: 4}\n", "f.yaml")
    assert places.find(()) == (1, 1)
    assert places.find(("name",)) == (1, 7)
    assert places.find(("name",), key=True) == (1, 1)
    assert places.find(("layers", 0, "count")) == (3, 12)
    assert places.find(("layers", 1, "count"), key=True) == (4, 6)
    assert places.find(("layers", 1, "absent")) == (4, 5)


def test_an_alias_stands_for_its_anchor() -> None:
    data, places = read_yaml("a: &x {b: 1}\nc: *x\n", "f.yaml")
    assert data == {"a": {"b": 1}, "c": {"b": 1}}
    assert places.find(("c", "b")) == (1, 11)


def test_a_value_quoted_is_text() -> None:
    assert read_yaml("a: '.nan'\nb: |\n  1\n", "f.yaml")[0] == {"a": ".nan", "b": "1\n"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml: is empty"),
        ("# only a comment\n", "f.yaml: is empty"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: duplicate key 'a': first on line 1"),
        ("x:\n  a: 1\n  a: 3", "f.yaml:3:3: x: duplicate key 'a': first on line 2"),
        ("a: &x [*x]", "f.yaml:1:8: a[0]: alias *x contains itself"),
        ("a: *x", "f.yaml:1:4: a: alias *x has no anchor"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: a: tags such as tag:yaml.org,2002:python/object:os.system"),
        ("a: !x {}", "f.yaml:1:4: a: tags such as !x are not supported"),
        ("a: {<<: {b: 1}}", "f.yaml:1:5: a: merge keys (<<) are not part of YAML 1.2"),
        ("[a]: 1", "f.yaml:1:1: a key must be text, not a list or a mapping"),
        ("a: &x 1\n*x : 2", "f.yaml:2:1: a key must be text, not an alias"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second document: one file holds one"),
        ("a: .nan", "f.yaml:1:4: a: .nan is not a finite number"),
        ("a: -.inf", "f.yaml:1:4: a: -.inf is not a finite number"),
        ("a: 1e400", "f.yaml:1:4: a: 1e400 is out of range"),
        (f"a: {'9' * 5000}", f"f.yaml:1:4: a: {'9' * 37}... is out of range"),
        (f"a: 0x{'f' * 5000}", f"f.yaml:1:4: a: 0x{'f' * 35}... is out of range"),
        ("a: [1, 2", "f.yaml:1:9: not valid YAML: while parsing a flow sequence expected ',' or ']'"),
        ("a: b: c", "f.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: \x07", "f.yaml:1:4: not valid YAML: character U+0007 is not allowed"),
        ('a: "\\Uffffffff"', "f.yaml:1: not valid YAML: an escape names no character"),
        ('a: "\\ud800"', "f.yaml:1:4: a: half a surrogate pair is not a character"),
        ('"a\\nb\\e": {c: 1, c: 2}', r"f.yaml:1:18: 'a\nb\x1b': duplicate key 'c': first on line 1"),
        ("[" * 100, "nested deeper than 64 levels"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("- " * 100 + "1", "nested deeper than 64 levels"),
        ("a" * (5 * 2**20), "f.yaml: is larger than 4 MiB of YAML"),
    ],
    ids=lambda text: text[:20],
)
def test_refuses(text: str, message: str) -> None:
    assert message in fault_of(text)


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    assert f"more than {MOST_VALUES:,} values once its aliases are expanded" in fault_of("\n".join(lines))
