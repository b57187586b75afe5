import json

import pytest
from hypothesis import given

from optimizer.errors import SpecError
from optimizer.readers.json_text import json_places, read_json
from optimizer.readers.places import PathStep, PlaceTree
from tests.strategies import documents


def fault_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        read_json(text, "f.json")
    return str(caught.value)


def test_places() -> None:
    places = json_places('{"name": "a \\" : {",\n "layers": [{"count": 3},\n  7]}', "f.json")
    assert places.find(("name",)) == (1, 10)
    assert places.find(("layers",), key=True) == (2, 2)
    assert places.find(("layers", 0, "count")) == (2, 23)
    assert places.find(("layers", 1)) == (3, 3)


def test_whole_numbers_with_an_exponent_are_exact() -> None:
    data = read_json('{"a": 15e12, "b": 1.5e3, "c": 1.0, "d": 2.5e-3, "e": 1e300}', "f.json")
    assert data == {"a": 15 * 10**12, "b": 1500, "c": 1.0, "d": 0.0025, "e": 1e300}
    assert type(data["a"]) is int
    assert type(data["c"]) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.json: is empty"),
        (" \n", "f.json: is empty"),
        ('{"a": 1', "f.json:1:8: not valid JSON: ends too early"),
        # the same on every Python, which names it from 3.13 on
        ('{"a": 1,\n }', "f.json:1:8: not valid JSON: a comma before '}'"),
        ("[1, 2 ,]", "f.json:1:7: not valid JSON: a comma before ']'"),
        ('{"a": "b', "f.json:1:7: not valid JSON: ends too early"),
        ('{"a": tru}', "f.json:1:7: not valid JSON: expecting value"),
        ('{"a": 1}}', "f.json:1:9: not valid JSON: extra data"),
        ("{'a': 1}", "f.json:1:2: not valid JSON: expecting property name enclosed in double quotes"),
        ('{"a": 1,\n "a": 2}', "f.json:2:2: duplicate key 'a': first on line 1"),
        ('{"a": [0, {"b": 1, "b": 1}]}', "f.json:1:20: a[1]: duplicate key 'b': first on line 1"),
        ('{"\\u0061": 1, "a": 2}', "f.json:1:15: duplicate key 'a': first on line 1"),
        ('{"s": "NaN", "a": NaN}', "f.json:1:19: a: NaN is not a finite number"),
        ('{"a": [-Infinity]}', "f.json:1:8: a[0]: -Infinity is not a finite number"),
        ('{"model": 1e999x}', "f.json:1:16: not valid JSON"),
        ('{"model": 1e999, "b": 1.2.3}', "f.json:1:26: not valid JSON"),
        ('{"model": 1e999 "b"}', "f.json:1:17: not valid JSON"),
        ('{"a": 1e999}', "f.json:1:7: a: 1e999 is out of range"),
        ('{"a": %s}' % ("7" * 5000), f"f.json:1:7: a: {'7' * 37}... is out of range"),
        ('{"a": ["\\ud800x"]}', "f.json:1:8: a[0]: half a surrogate pair is not a character"),
        ('{"\\udc00": 1}', "f.json:1:2: half a surrogate pair is not a character"),
        ("[" * 65 + "]" * 65, "f.json:1:65: nested deeper than 64 levels"),
        ("[" * 200_000, "f.json:1:65: nested deeper than 64 levels"),
        ('{"a":' * 200_000, "f.json:1:321: nested deeper than 64 levels"),
    ],
    ids=lambda text: text[:20],
)
def test_refuses(text: str, message: str) -> None:
    assert fault_of(text).startswith(message)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert read_json('["\\ud83d\\ude00"]', "f.json") == ["\N{GRINNING FACE}"]


def walk(data: object, tree: PlaceTree, text: str) -> None:
    """Each place is where the value's own text begins."""
    lines = text.split("\n")
    line, column = tree.place
    here = lines[line - 1][column - 1 :]
    steps: list[tuple[PathStep, object]] = []
    if isinstance(data, dict):
        assert here.startswith("{")
        steps = list(data.items())
        for key in data:
            key_line, key_column = tree.keys[key]
            assert lines[key_line - 1][key_column - 1 :].startswith(json.dumps(key))
    elif isinstance(data, list):
        assert here.startswith("[")
        steps = list(enumerate(data))
    else:
        assert here.startswith(json.dumps(data))
    assert len(tree.children) == len(steps)
    for step, value in steps:
        walk(value, tree.children[step], text)


@given(documents)
def test_every_place_is_where_the_value_begins(data: object) -> None:
    text = json.dumps(data, indent=1)
    try:
        read_json(text, "f.json")
    except SpecError:
        assert any(word in text for word in ("NaN", "Infinity"))
    else:
        walk(data, json_places(text, "f.json"), text)
