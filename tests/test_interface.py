"""The public names for programs: typed, and the same answers as the commands give."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import optimizer
from optimizer import SpecError, audit, certify, explain, place, read_problem, solve, verify
from optimizer.cli.main import run

SMALL = {
    "model": "qwen3-32b",
    "hardware": "h200-sxm-8",
    "devices": 4,
    "workload": {"input_tokens": 1000, "output_tokens": 200},
    "limits": {"tpot": "40 ms"},
}


@pytest.fixture(scope="module")
def result() -> optimizer.Result:
    return solve(SMALL)


def test_every_public_name_is_there() -> None:
    assert {"read_problem", "solve", "verify", "certify", "explain", "place", "audit"} < set(optimizer.__all__)
    for name in optimizer.__all__:
        assert getattr(optimizer, name).__doc__
    stub = (Path(optimizer.__file__).parent / "__init__.pyi").read_text()
    assert all(f"{name} as {name}" in stub for name in optimizer.__all__)
    with pytest.raises(AttributeError):
        optimizer.solves  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_alone_loads_no_solver() -> None:
    code = "import sys, optimizer; dir(optimizer); sys.exit('ortools' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


DOOR = {
    "read_problem": "source", "solve": "problem", "verify": "layout", "certify": "result", "explain": "problem",
    "place": "problem", "audit": "document",
}  # fmt: skip
"""The functions, each with its first parameter."""
ORDERS = {
    "the door alone": "",
    "packages first": "import optimizer.solve.result, optimizer.verify.claims, optimizer.explain, optimizer.audit",
    "one package first": "from optimizer.audit import audit_document; import optimizer.verify as judged",
    "the interface first": "import optimizer.interface",
    "packages later": "from optimizer import *; import optimizer.verify.claims, optimizer.solve.result",
}


@pytest.mark.parametrize("first", ORDERS.values(), ids=ORDERS)
def test_the_functions_are_functions_whatever_was_imported_before(first: str) -> None:
    code = f"""
{first}
import inspect, typing, pydoc, optimizer
from optimizer import {", ".join(DOOR)}
for name, parameter in {DOOR}.items():
    function = getattr(optimizer, name)
    assert inspect.isfunction(function) and globals()[name] is function, name
    parameters = inspect.signature(function).parameters
    assert next(iter(parameters)) == parameter and all(p.annotation is not p.empty for p in parameters.values()), name
    assert "return" in typing.get_type_hints(function), name
    assert "Raises" in function.__doc__ and function.__doc__.split(".")[0] in pydoc.render_doc(function), name
import optimizer.solve.result as result
import optimizer.verify.claims
assert result is optimizer.solve.result and result.Solved
assert optimizer.verify.claims.__name__ == "optimizer.verify.claims"
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_files_and_mappings_say_the_same_problem(tmp_path: Path) -> None:
    file = tmp_path / "problem.json"
    file.write_text(json.dumps(SMALL))
    by_options = read_problem(model="qwen3-32b", hardware="h200-sxm-8", devices=4, isl=1000, osl=200, tpot="40 ms")
    assert read_problem(file).digest == read_problem(SMALL).digest == by_options.digest
    assert read_problem(SMALL, tp=[1, 2]).digest == read_problem(file, tp="1,2").digest != by_options.digest


def test_mappings_and_options_take_values_that_no_file_holds() -> None:
    options = {"model": "qwen3-32b", "hardware": "h200-sxm-8", "isl": 1000, "osl": 200, "tpot": "40 ms"}
    asked = SMALL | {"devices": np.int64(4), "limits": {"tpot": Fraction(1, 25)}, "search": {"tp": range(1, 3)}}
    assert read_problem(asked).digest == read_problem(SMALL, tp=[1, 2]).digest
    assert read_problem(asked | {"limits": {"tpot": Decimal("0.04")}}).digest == read_problem(asked).digest
    for degrees in (range(1, 3), np.arange(1, 3)):
        assert read_problem(**options, devices=np.int64(4), tp=degrees).digest == read_problem(asked).digest
    with pytest.raises(SpecError, match="devices: nan is not a finite number"):
        solve(SMALL | {"devices": float("nan")})


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(TypeError, match="no option 'devises'; did you mean 'devices'"):
        read_problem(devises=3)
    with pytest.raises(SpecError, match=r"^ttft: unknown unit 'parsecs'"):
        read_problem(SMALL, ttft="5 parsecs")
    with pytest.raises(SpecError, match=r"^kv_cache: "):
        read_problem(SMALL, kv_cache="fp3")


ANYTHING_BUT = (5, True, b"x", [1], object())


@pytest.mark.parametrize(
    ("function", "argument"),
    [(read_problem, "source"), (solve, "problem"), (explain, "problem"), (place, "problem"), (verify, "layout"),
     (certify, "result"), (audit, "document")],
)  # fmt: skip
def test_a_value_that_an_argument_cannot_be_is_refused_by_the_argument(
    function: Callable[[object], object], argument: str
) -> None:
    values = ANYTHING_BUT if function is read_problem else (*ANYTHING_BUT, None)
    if function in {verify, certify, audit}:
        values = (*values, read_problem(SMALL))
    for value in values:
        with pytest.raises(SpecError) as error:
            function(value)
        text = str(error.value)
        assert text.startswith(f"{argument}: ")
        assert " is wanted, not " in text
        assert "--" not in text
        assert len(text) < 150


def test_numbers_that_an_argument_cannot_be_are_refused_by_the_argument() -> None:
    problem = read_problem(SMALL)
    for seconds in ("x", float("nan"), -1, True, [], 1e12):
        for timed in (solve, place):
            with pytest.raises(SpecError, match=r"^time_limit_s: a number of seconds"):
                timed(problem, time_limit_s=seconds)
    for top in ("x", 0, 1.5, True, None):
        with pytest.raises(SpecError, match=r"^top: "):
            solve(problem, top=top)
    assert solve(problem, top=np.int64(1), time_limit_s=np.float64(60)).status == "optimal"
    for wrong in (lambda: verify({"layout": {"tp": 4, "batch": 8}}, 5), lambda: audit("1\n2", problem=5)):
        with pytest.raises(SpecError, match=r"^problem: "):
            wrong()
    with pytest.raises(SpecError, match=r"^devices: a whole number is wanted, not the text 'four'"):
        read_problem(SMALL, devices="four")


def test_a_layout_is_judged_by_any_problem() -> None:
    layout = {"layout": {"tp": 4, "batch": 8}, "claims": {"throughput": "100 tokens/s"}}
    other = SMALL | {"limits": {"tpot": "1 ms"}}
    for problem in (SMALL, read_problem(SMALL)):
        assert verify(layout, problem).feasible
    for problem in (other, read_problem(other)):
        assert not verify(layout | {"problem": SMALL}, problem).feasible


def test_a_result_is_asked_about(result: optimizer.Result) -> None:
    assert explain(result).status == "feasible"


def test_solve_answers_as_the_command_does(result: optimizer.Result, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--model qwen3-32b --hardware h200-sxm-8 --devices 4 --isl 1000 --osl 200 --tpot 40ms --json"
    assert run(["solve", *words.split()]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["layout"] == result.to_json()["layout"]
    assert certify(result).accepted
    assert verify(result).feasible
    assert result.layout is not None
    assert verify(result.layout, SMALL).feasible
    changed = result.to_json()
    changed["figures"]["ttft_s"] *= 2
    assert not certify(changed).accepted


def test_a_result_shows_itself(result: optimizer.Result) -> None:
    assert result._repr_html_().startswith("<iframe srcdoc=")
    assert "&lt;svg" in result._repr_html_()
    frame = result.to_frame()
    assert result.evaluation is not None
    assert result.figures["tpot_s"] == float(result.evaluation.tpot_s or 0)
    assert frame.loc["tpot_s", "value"] == pytest.approx(float(result.evaluation.tpot_s))
    nothing = solve({**SMALL, "devices": 1, "limits": {"tpot": "1 us"}})
    assert nothing.status == "infeasible"
    assert nothing.to_frame().empty
    assert nothing._repr_html_()


def test_what_the_commands_print_as_a_table_is_one(result: optimizer.Result) -> None:
    nothing = SMALL | {"limits": {"tpot": "1 ms"}}
    claims = {"throughput": "100 tokens/s", "tp": 4}
    judged = verify({"problem": SMALL, "layout": {"tp": 4, "batch": 8}, "claims": claims})
    experts = {"model": "qwen3-30b-a3b", "hardware": "h100-sxm-8", "devices": 8, "isl": 1, "osl": 2, "ep": 8}
    placed = place(read_problem(**experts, expert_load="zipf:0.8"))
    conflicting, bound = explain(nothing), explain(result)
    document = audit("We use 4 x 8 = 36 <GPUs>.\nThat is 2 x 3 = 6.\n")
    certified = certify(result)
    for answer, words in (
        (judged, "feasible; claims: 1 fails, 1 holds"), (certified, "accepted: optimal"),
        (conflicting, "infeasible: tpot conflicts"), (bound, "feasible: tpot binds"),
        (document, "1 holds, 1 fails"), (placed, "optimal: hottest device"),
    ):  # fmt: skip
        frame, page = answer.to_frame(), answer._repr_html_()
        assert list(frame.columns) == list(answer.columns)
        assert len(frame) == len(answer.rows()) == page.count("<tr>") - 1 > 0
        assert repr(answer).startswith(f"<{words}")
        assert len(repr(answer)) < 120
        assert page.startswith("<p><strong>")
        assert "<GPUs>" not in page
    assert judged.to_frame().set_index("claim")["verdict"].to_dict() == {"throughput": "fails", "tp": "holds"}
    assert judged.to_frame()["derived"][1] == 4
    assert list(certified.to_frame()["part"])[: len(certified.checked)] == certified.checked
    limits = conflicting.to_frame().set_index("limit")
    assert limits["in_conflict"].all()
    assert bound.to_frame()["objective"][0] == pytest.approx(float(bound.binding[0].scored.value))
    assert list(document.to_frame()["line"]) == [1, 2]
    assert (placed.to_frame()["after"] >= placed.to_frame()["bound"] - 1e-12).all()
    broken = verify({"problem": nothing, "layout": {"tp": 4, "batch": 8}})
    assert broken.to_frame().empty
    assert repr(broken) == "<infeasible: 1 violated constraint>"
    assert "time per output token is" in broken._repr_html_()


def test_where_nothing_fits_a_result_has_the_limits_that_conflict() -> None:
    nothing = SMALL | {"limits": {"tpot": "1 ms"}}
    found, named = solve(nothing), explain(nothing).to_json()["conflict"]
    assert found.conflict == [{name: item[name] for name in ("limit", "value", "unit")} for item in named]
    assert found.to_json()["conflict"] == found.conflict != []
    assert certify(found).accepted
    assert solve(nothing, time_limit_s=0).conflict == []


def test_a_fleet_is_a_table_of_its_replicas(tmp_path: Path) -> None:
    cluster = {
        "pools": {"a": {"devices_per_node": 4, "nodes": 2, "price": "1 $/h"}},
        "demands": {"chat": {}},
        "periods": {"day": {"hours": 16, "rates": {"chat": 4}}, "night": {"hours": 8, "rates": {"chat": 1}}},
        "objective": "devices",
    }
    table = "pool,demand,layout,devices,requests_per_s\na,chat,small,1,1\na,chat,large,2,3\n"
    (tmp_path / "rates.csv").write_text(table)
    solved = solve(cluster | {"rates": str(tmp_path / "rates.csv")})
    nothing = solve(cluster | {"rates": str(tmp_path / "rates.csv"), "limits": {"budget": "1 $/h"}})
    frame = solved.to_frame()
    assert repr(solved) == "<cluster: optimal, devices 2.33333>"
    by_period = {name: dict(zip(rows["name"], rows["count"], strict=True)) for name, rows in frame.groupby("period")}
    assert by_period == {"day": {"small": 1, "large": 1}, "night": {"small": 1}}
    assert (frame["count"] * frame["devices"]).groupby(frame["period"]).sum().to_dict() == {"day": 3, "night": 1}
    assert (frame["share"]).groupby(frame["period"]).sum().to_dict() == {"day": 1.0, "night": 1.0}
    assert all(len(row.nodes) == row.count for row in frame[["nodes"]].assign(count=frame["count"]).itertuples())
    assert nothing.to_frame().empty


def test_a_result_is_certified_whatever_holds_its_numbers(result: optimizer.Result) -> None:
    document = result.to_json()
    layout = {name: np.int64(n) if isinstance(n, int) else n for name, n in document["layout"].items()}
    assert certify(document | {"layout": layout}).accepted
    with pytest.raises(SpecError, match="layout: nan is not a finite number"):
        certify(document | {"layout": float("nan")})


def test_a_layout_alone_needs_its_problem(result: optimizer.Result) -> None:
    assert result.layout is not None
    with pytest.raises(SpecError, match="give `problem`"):
        verify(result.layout)


def test_explain_takes_a_cluster() -> None:
    cluster = {
        "pools": {"new": {"hardware": "h100-sxm-8", "nodes": 1, "price": "2 $/h", "billing": "on_demand"}},
        "demands": {
            "chat": {
                "model": "llama-3.1-8b",
                "workload": {"input_tokens": 1000, "output_tokens": 100, "request_rate": 20},
                "limits": {"ttft": "1 s", "tpot": "50 ms"},
            }
        },
        "limits": {"budget": "1 $/h"}, "replica_devices": 2, "objective": "cost",
    }  # fmt: skip
    found = explain(cluster)
    assert found.status == "infeasible"
    assert {item["limit"] for item in found.conflict} == {"demands.chat.request_rate", "limits.budget"}
    assert {item["limit"] for item in found.relaxations} <= {item["limit"] for item in found.conflict}
    assert found.to_json()["schema"] == "shardproof/explain/1"
    assert explain({**cluster, "limits": {}}).status == "feasible"


def test_explain_place_and_audit(tmp_path: Path) -> None:
    assert explain({**SMALL, "devices": 1, "limits": {"tpot": "1 us"}}).conflict
    placed = place(
        read_problem(
            model="qwen3-30b-a3b", hardware="h100-sxm-8", devices=8, isl=1, osl=2, ep=8, expert_load="zipf:0.8"
        )
    )
    assert placed.to_json()["schema"].startswith("shardproof/")
    text = "We use 4 x 8 = 36 GPUs.\nThat is all.\n"
    file = tmp_path / "plan.md"
    file.write_text(text)
    assert audit(text).exit_status == audit(file).exit_status == 1


RATES = """pool,demand,layout,devices,requests_per_s
h100,chat,pair,2,3
h100,chat,quad,4,7
"""


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    (tmp_path / "rates.csv").write_text(RATES)
    path = tmp_path / "cluster.json"
    asked = {"pools": {"h100": {"devices_per_node": 8, "nodes": 2}}, "demands": {"chat": {"workload": {}}}}
    path.write_text(json.dumps({**asked, "rates": "rates.csv", "objective": "throughput"}))
    return path


def test_a_cluster_is_solved_verified_and_certified(fleet_file: Path, tmp_path: Path) -> None:
    found = solve(fleet_file)
    assert isinstance(found, optimizer.FleetResult)
    assert (found.status, found.layout, float(found.value or 0)) == ("optimal", None, 28.0)
    assert found.figures["chat"]["capacity_per_s"] == pytest.approx(28)
    assert certify(found).accepted
    assert certify(found, fleet_file).accepted
    assert not certify(found, SMALL).accepted
    assert verify(found).feasible
    written = tmp_path / "fleet.json"
    written.write_text(json.dumps(found.to_json()))
    assert verify(written).feasible
    too_many = json.loads(json.dumps(found.to_json()))
    too_many["fleet"]["replicas"][0] |= {"count": 5, "nodes": None}
    assert not verify(too_many).feasible
    assert found._repr_html_().startswith("<iframe srcdoc=")
    with pytest.raises(SpecError, match="one best fleet"):
        solve(fleet_file, top=2)


def test_a_cluster_that_nothing_serves_says_what_conflicts(fleet_file: Path) -> None:
    asked = json.loads(fleet_file.read_text()) | {"objective": "devices"}
    asked["demands"]["chat"]["workload"] = {"request_rate": 40}
    fleet_file.write_text(json.dumps(asked))
    found = solve(fleet_file)
    assert found.status == "infeasible"
    document = found.to_json()
    assert [limit["limit"] for limit in document["conflict"]]
    assert certify(document).accepted


def test_mixed_layouts_are_a_fleet() -> None:
    problem = read_problem("qwen3-32b-h200-8", devices=7, objective="throughput")
    mixed, alone = solve(problem), solve(problem.changed(max_kinds=1))
    assert isinstance(mixed, optimizer.FleetResult)
    assert isinstance(alone, optimizer.Result)
    assert mixed.value is not None
    assert alone.best is not None
    assert mixed.value > alone.best.value
    assert certify(mixed, problem).accepted
