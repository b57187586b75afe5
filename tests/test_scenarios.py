"""Every scenario that ships: it reads, its sets are known, and what its tags promise is true."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from optimizer.domain.families import Family
from optimizer.domain.problem import ProblemFile
from optimizer.readers.document import load, load_text, parse
from optimizer.readers.read import layout_in, problem_in, read_problem
from optimizer.search.search import Search
from optimizer.verify import judge
from optimizer.verify.claim_table import dimensions

PROBLEMS = Path(__file__).parents[1] / "problems"
FEASIBLE = sorted((PROBLEMS / "scenarios").glob("*.yaml"))
INFEASIBLE = sorted((PROBLEMS / "scenarios" / "infeasible").glob("*.yaml"))
LAYOUTS = sorted((PROBLEMS / "layouts").glob("*.yaml"))
SETS = {"smoke", "core", "scale", "placement", "infeasible", "seeds"}
LIMITS = {Family.TTFT: "ttft", Family.TPOT: "tpot", Family.BANDWIDTH: "fabric_bandwidth"}


def written(path: Path) -> ProblemFile:
    return parse(ProblemFile, load(path))


def test_enough_ship() -> None:
    assert len(FEASIBLE) >= 24
    assert len(INFEASIBLE) >= 25
    named = {tag for path in FEASIBLE + INFEASIBLE for tag in written(path).tags}
    assert named >= SETS


def test_names_are_distinct() -> None:
    names = [path.stem for path in FEASIBLE + INFEASIBLE]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", FEASIBLE + INFEASIBLE, ids=lambda path: path.stem)
def test_scenario_reads_with_its_model_and_hardware(path: Path) -> None:
    problem = read_problem(path)
    assert problem.name == path.stem
    assert written(path).notes


@pytest.mark.parametrize("path", FEASIBLE, ids=lambda path: path.stem)
def test_feasible_scenario_belongs_to_known_sets(path: Path) -> None:
    tags = set(written(path).tags)
    assert tags
    assert tags <= SETS - {"infeasible"}
    assert ("seeds" in tags) == path.stem.startswith("seed-")


@pytest.mark.parametrize("path", INFEASIBLE, ids=lambda path: path.stem)
def test_infeasible_scenario_names_the_families_in_conflict(path: Path) -> None:
    file = written(path)
    assert file.tags[0] == "infeasible"
    families = {Family(tag) for tag in file.tags[1:] if tag != "hair"}
    assert families
    for family, limit in LIMITS.items():
        assert (family in families) == (getattr(file.limits, limit) is not None)
    assert (Family.REQUEST_RATE in families) == (file.workload.request_rate is not None)
    assert (Family.ENGINE in families) == (file.engine != "any")
    if path.stem.startswith("pair-"):
        assert len(families) == 2
    if path.stem.startswith("triple-"):
        assert len(families) == 3


def test_seed_systems_say_what_is_inferred() -> None:
    seeds = [written(path) for path in FEASIBLE if path.stem.startswith("seed-")]
    assert len(seeds) == 3
    assert all(len(file.assumed) >= 3 for file in seeds)


def test_prime_device_counts_and_every_objective_occur() -> None:
    files = [written(path) for path in FEASIBLE]
    assert {13, 641} <= {file.devices for file in files}
    assert {file.objective for file in files} == {
        "throughput_per_device", "throughput", "devices", "ttft", "tpot", "cost", "memory_headroom"
    }  # fmt: skip
    assert {file.workload.phase for file in files} == {"aggregated", "prefill", "decode"}
    assert {file.engine for file in files} >= {"any", "vllm"}


@pytest.mark.parametrize("path", INFEASIBLE, ids=lambda path: path.stem)
def test_infeasible_scenario_has_no_layout(path: Path) -> None:
    found = Search(read_problem(path)).run()
    assert found.complete
    assert found.best == []


@pytest.mark.parametrize("path", [p for p in FEASIBLE if "smoke" in written(p).tags], ids=lambda path: path.stem)
def test_smoke_scenario_has_a_layout(path: Path) -> None:
    found = Search(read_problem(path)).run()
    assert found.complete
    assert found.best


@pytest.mark.slow
@pytest.mark.parametrize("path", FEASIBLE, ids=lambda path: path.stem)
def test_scenario_has_a_layout(path: Path) -> None:
    assert Search(read_problem(path)).run().best


def _without(path: Path, family: Family) -> bool:
    """Whether a scenario has a layout once one of its families is dropped."""
    data = dict(load(path).data)
    if family is Family.SEARCH:
        del data["search"]
    elif family is Family.REQUEST_RATE:
        data["workload"] = {key: value for key, value in data["workload"].items() if key != "request_rate"}
    else:
        limit = LIMITS.get(family, "memory_utilization")
        data["limits"] = {key: value for key, value in data["limits"].items() if key != limit}
    return bool(Search(problem_in(load_text(json.dumps(data)))).run().best)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in INFEASIBLE if p.stem.startswith(("pair-", "triple-"))], ids=lambda path: path.stem
)
def test_each_limit_of_a_conflict_is_needed(path: Path) -> None:
    families = [Family(tag) for tag in written(path).tags[1:]]
    own = [f for f in families if f is not Family.MEMORY or written(path).limits.memory_utilization is not None]
    assert {family: _without(path, family) for family in own} == dict.fromkeys(own, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in INFEASIBLE if p.stem.startswith("hair-memory")], ids=lambda path: path.stem
)
def test_a_hair_more_memory_would_do(path: Path) -> None:
    problem = read_problem(path)
    share = problem.memory_utilization * Fraction(1005, 1000)
    looser = problem.limits.model_copy(update={"memory_utilization": share})
    assert Search(problem.model_copy(update={"limits": looser})).run().best


@pytest.mark.parametrize(
    "path", [p for p in INFEASIBLE if p.stem.startswith(("hair-tpot", "hair-ttft"))], ids=lambda path: path.stem
)
def test_a_hair_longer_would_do(path: Path) -> None:
    problem = read_problem(path)
    assert problem.limits.confidence is None
    longer = {name: limit * Fraction(1005, 1000) for name, limit in problem.asked.items()}
    assert Search(problem.model_copy(update={"limits": problem.limits.model_copy(update=longer)})).run().best


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: path.stem)
def test_layout_is_feasible_and_every_claim_is_judged(path: Path) -> None:
    verdict = judge(layout_in(load(path), claims=dimensions())).to_json()
    assert verdict["feasible"], verdict["violations"]
    assert verdict["claims"]
    assert all(claim["verdict"] != "unsupported" for claim in verdict["claims"])


def _verdicts(name: str) -> dict[str, str]:
    document = judge(layout_in(load(PROBLEMS / "layouts" / f"{name}.yaml"), claims=dimensions())).to_json()
    return {claim["name"]: claim["verdict"] for claim in document["claims"]}


def test_seed_layouts_are_judged_as_counting_says() -> None:
    assert _verdicts("seed-a-ep64-tp2")["experts_resident_per_layer"] == "holds"
    assert _verdicts("seed-a-ep64-tp2")["experts_per_gpu"] == "ambiguous"
    assert _verdicts("seed-b-4x4x2")["experts_resident_per_layer"] == "holds"
    assert _verdicts("seed-b-4x4x2")["parameters"] == "fails"
    assert _verdicts("seed-c-product")["devices"] == "holds"
    assert _verdicts("seed-c-reviewed")["devices"] == "fails"
