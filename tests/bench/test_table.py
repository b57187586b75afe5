import json
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.bench.compare import read_records, regressions
from optimizer.bench.record import Record
from optimizer.bench.table import beaten, margins, markdown, unproved
from optimizer.errors import SpecError

VALUE = {"name": "throughput_tokens_per_s", "value": 10.0, "bound": 10.0, "exact": "10/1"}
OWN = Record("a", "solve", "optimal", VALUE, 0.0, 1000, 1.0, 2**27, "accepted", {"rows_priced": 100}, 0.5, digest="d")
LESS = Record(
    "a", "rule_of_thumb", "feasible", {**VALUE, "value": 8.0, "exact": "8/1"}, None, 9, 2.0, 2**26, None, margin=1.25
)
NONE = {**VALUE, "value": None, "exact": None}


def test_margins_are_counted() -> None:
    other = [replace(OWN, scenario="b"), replace(LESS, scenario="b", margin=5.0)]
    third = [replace(OWN, scenario="c"), replace(LESS, scenario="c", objective=NONE, status="unknown", margin=None)]
    (found,) = margins([OWN, LESS, *other, *third])
    assert (found.method, found.scenarios, found.nothing) == ("rule_of_thumb", 3, 1)
    assert (found.worst, found.best) == (1.25, 5.0)
    assert found.mean == pytest.approx(2.5)
    assert found.speed == pytest.approx(2.0)


def test_a_baseline_that_wins_is_seen() -> None:
    winner = replace(LESS, margin=0.9)
    assert beaten([OWN, LESS]) == []
    assert beaten([OWN, winner]) == [winner]
    nothing = replace(OWN, status="infeasible", objective=NONE)
    found = replace(LESS, margin=None)
    assert beaten([nothing, found]) == [found]


@pytest.mark.parametrize(
    "change", [{"status": "feasible"}, {"certificate": "rejected: x"}, {"certificate": None}, {"status": "failed"}]
)
def test_an_answer_without_proof_is_seen(change: dict[str, str]) -> None:
    assert unproved([OWN, LESS]) == []
    worse = replace(OWN, **change)
    assert unproved([worse, LESS]) == [worse]


def test_table_is_markdown() -> None:
    text = markdown([OWN, LESS, replace(OWN, scenario="b|c", status="infeasible", objective=NONE, gap=None)])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2].split(" | ")[-1] == "1.250 |"
    assert "b\\|c" in rows[3]
    assert len({line.replace("\\|", "").count("|") for line in rows[:4]}) == 1


@pytest.mark.parametrize(
    ("change", "quantity", "ratio", "answer"),
    [
        ({"objective": {**VALUE, "value": 8.0, "exact": "8/1"}}, "objective", 1.25, True),
        ({"status": "feasible"}, "status", None, True),
        ({"certificate": "rejected: objective"}, "certificate", None, True),
        ({"wall_s": 3.0}, "wall_s", 3.0, False),
        ({"check_s": 2.0}, "check_s", 4.0, False),
        ({"peak_bytes": 2**28}, "peak_bytes", 2.0, False),
        ({"work": {"rows_priced": 300}}, "rows_priced", 3.0, False),
    ],
)
def test_what_got_worse_is_a_ratio(
    change: dict[str, object],
    quantity: str,
    ratio: float | None,
    answer: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    (found,) = regressions([OWN, LESS], [replace(OWN, **change), LESS])  # type: ignore[arg-type]
    assert (found.quantity, found.ratio, found.answer) == (quantity, ratio, answer)


def test_a_shorter_time_is_worse_only_where_less_is_asked() -> None:
    tpot = {"name": "tpot_s", "value": 1.0, "bound": 1.0, "exact": "1/1"}
    own, slower = replace(OWN, objective=tpot), replace(OWN, objective={**tpot, "exact": "3/2", "value": 1.5})
    assert [r.ratio for r in regressions([own], [slower])] == [1.5]
    assert regressions([slower], [own]) == []


def test_noise_is_no_regression() -> None:
    assert regressions([OWN], [replace(OWN, wall_s=1.05, check_s=0.55, peak_bytes=2**27 + 2**20)]) == []
    assert regressions([replace(OWN, wall_s=0.01)], [replace(OWN, wall_s=0.05)]) == []


def test_another_problem_is_not_compared_by_value() -> None:
    other = replace(OWN, digest="e", objective={**VALUE, "value": 8.0, "exact": "8/1"})
    assert regressions([OWN], [other]) == []


def test_broken_lines_are_refused_with_their_number(tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    own = OWN.to_json()
    changed = [
        own | {"wall_s": "1"}, own | {"work": [1]}, own | {"objective": {"value": 1.0}}, own | {"peak_bytes": "much"},
        own | {"objective": {**VALUE, "exact": "1/0"}}, own | {"objective": {**VALUE, "exact": "1e999999999"}},
    ]  # fmt: skip
    texts = ("{", "[]", "{}", '{"schema": "shardproof/bench/1"}', "[" * 100_000, '{"a": 1e999x}')
    for broken in (*texts, *map(json.dumps, changed)):
        file.write_text(json.dumps(own) + "\n\n" + broken + "\n")
        with pytest.raises(SpecError) as refusal:
            read_records(file)
        assert refusal.value.faults[0].line == 3
    file.write_text(json.dumps(OWN.to_json()) + "\n")
    assert read_records(file) == [OWN]
