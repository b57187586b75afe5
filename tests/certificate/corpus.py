"""Writes the corpus of results: `python -m tests.certificate.corpus`.

`accepted/` and `rejected/` hold documents with the item that is wrong, `malformed_results/` what is no result at all.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored
from optimizer.readers.read import Override, read_problem
from optimizer.search.search import Search
from optimizer.solve import solve
from tests.certificate.documents import Json, answer, claimed, resealed, written
from tests.certificate.tampering import MAKERS, document
from tests.small_problems import small_problem

HERE = Path(__file__).parents[1] / "corpora"
EXPECTED = "expected.json"


def shown(data: object) -> str:
    """As the corpus writes it."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def accepted() -> dict[str, Json]:
    """One true result of each kind."""
    return {kind: document(kind) for kind in MAKERS}


def changed(kind: str, change: Callable[[Json], None], *, sealed: bool = True) -> Json:
    """A true result with something changed, its digest set right."""
    found = copy.deepcopy(document(kind))
    change(found)
    return resealed(found) if sealed else found


def ranked() -> tuple[Problem, list[Scored]]:
    """The problem of the list of layouts, and its best."""
    asked = document("top")["problem"]["digest"]
    problem = next(p for p in map(small_problem, range(400)) if p.digest == asked)
    return problem, Search(problem, wanted=8).run().best


def _worse() -> Json:
    problem, best = ranked()
    return claimed(problem, "optimal", best[1], bound=best[1].value)


def _left_out() -> Json:
    problem, best = ranked()
    return claimed(problem, "optimal", best[0], bound=best[0].value, others=(best[2],))


def _set(*at: str | int, to: object) -> Callable[[Json], None]:
    def change(found: Json) -> None:
        holder: Json = found
        for step in at[:-1]:
            holder = holder[step]  # type: ignore[index]
        holder[at[-1]] = to  # type: ignore[index]

    return change


def _bytes_more(found: Json) -> None:
    found["certificate"]["figures"]["memory_bytes"] += 1
    found["figures"]["memory_bytes"] += 1


def _larger_batch(found: Json) -> None:
    for layout in (found["layout"], found["certificate"]["layout"]):
        layout["batch"] += 1


def _unreduced(found: Json) -> None:
    value = Fraction(found["certificate"]["objective"]["value"])
    found["certificate"]["objective"]["value"] = f"{2 * value.numerator}/{2 * value.denominator}"


def _fewer_axes(found: Json) -> None:
    found["certificate"]["lattice"]["axes"]["pp"].pop()


def _other_problem(found: Json) -> None:
    found["problem"] = document("infeasible")["problem"]
    found["certificate"]["problem_digest"] = found["problem"]["digest"]


def _looser_limit(found: Json) -> None:
    found["problem"]["devices"] += 1


def _doubled_expert(found: Json) -> None:
    for placement in (found["layout"]["placement"], found["certificate"]["placements"][0]["placement"]):
        placement["layers"][0]["devices"][0][0] = placement["layers"][0]["devices"][1][0]


def _better_balance(found: Json) -> None:
    found["certificate"]["placements"][0]["certificate"]["layers"][0]["bound"] = "1"


def _own_tolerance(found: Json) -> None:
    found["certificate"]["tolerance"], found["placement"]["tolerance"] = "10", 10.0
    for layer in found["placement"]["layers"]:
        layer["proved"] = True
    found["status"] = "optimal"


def _faster_hardware() -> Json:
    """An honest solve of hardware that is not what the catalog holds under its name."""
    sizes = {"input_tokens": 1000, "output_tokens": 200}
    asked = [*(("model", "llama-3.1-8b"), ("hardware", "h100-sxm-8"), ("devices", 1))]
    places = [*((name,) for name, _ in asked), *(("workload", name) for name in sizes)]
    values = [*(value for _, value in asked), *sizes.values()]
    problem = read_problem(None, [Override(at[-1], at, value) for at, value in zip(places, values, strict=True)])
    device = problem.hardware.device.model_copy(update={"bandwidth": 10 * problem.hardware.device.bandwidth})
    return written(solve(problem.changed(hardware=problem.hardware.model_copy(update={"device": device}))))


def _shorter_conflict(found: Json) -> None:
    found["conflict"].pop()


def rejected() -> dict[str, tuple[Json, str]]:
    """False results, and the item that is wrong with each."""
    problem, _ = ranked()
    placed = "certificate.placements[0]"
    return {
        "worse-layout": (_worse(), "certificate.objective"),
        "layout-left-out-of-the-list": (_left_out(), "certificate.objective"),
        "infeasible-though-something-fits": (claimed(problem, "infeasible"), "certificate.kind"),
        "a-byte-more": (changed("optimal", _bytes_more), "certificate.figures.memory_bytes"),
        "a-sequence-more": (changed("pareto", _larger_batch), "certificate.layout"),
        "figure-rounded": (changed("optimal", _set("figures", "tpot_s", to=0.001)), "figures.tpot_s"),
        "rational-not-in-lowest-terms": (changed("optimal", _unreduced), "certificate.objective.value"),
        "region-dropped": (changed("optimal", _fewer_axes), "certificate.lattice.axes.pp"),
        "problem-swapped": (changed("optimal", _other_problem), "certificate.lattice.axes"),
        "problem-changed": (changed("optimal", _looser_limit), "problem.digest"),
        "true-for-one": (changed("optimal", _set("certificate", "redundant", to=False)), "certificate.layout"),
        "kind-changed": (changed("optimal", _set("certificate", "kind", to="feasible")), "status"),
        "key-added": (changed("optimal", _set("certificate", "note", to="trust me")), "certificate"),
        "not-resealed": (
            changed("optimal", _set("certificate", "digest", to="sha256:0"), sealed=False), "certificate.digest",
        ),
        "trust-claimed": (
            changed("optimal", _set("certificate", "solver_trusted", to=["bound"])), "certificate.solver_trusted",
        ),
        "expert-held-twice": (changed("joint", _doubled_expert), placed + ".layer"),
        "placement-bound-changed": (changed("joint", _better_balance), placed + ".layer"),
        "tolerance-of-ones-own": (changed("placed", _own_tolerance, sealed=False), "certificate.tolerance"),
        "hardware-not-of-the-catalog": (_faster_hardware(), "problem.hardware.device.bandwidth"),
        "conflict-without-a-member": (changed("infeasible", _shorter_conflict), "conflict"),
        "other-counts-of-candidates": (changed("optimal", _set("search", "candidates", to=1)), "search.candidates"),
    }  # fmt: skip


def malformed() -> dict[str, str]:
    """Texts that are no result."""
    text = shown(document("infeasible"))
    return {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "key-twice": text.replace('"status":', '"status": "optimal",\n "status":', 1),
        "not-a-number": text.replace('"redundant": 0', '"redundant": NaN', 1),
        "enormous-number": text.replace('"redundant": 0', '"redundant": 1' + "0" * 400, 1),
        "a-list": "[]\n",
        "a-number": "3\n",
        "no-certificate": shown({**document("infeasible"), "certificate": {}}),
        "newer-schema": text.replace("shardproof/result/1", "shardproof/result/9", 1),
        "newer-certificate": text.replace("shardproof/certificate/1", "shardproof/certificate/9", 1),
        "only-the-certificate": shown(document("infeasible")["certificate"]),
        "too-deep": "[" * 500 + "]" * 500 + "\n",
    }


def write() -> None:
    """Write all three."""
    for folder, files in (
        ("accepted", {name: shown(own) for name, own in accepted().items()}),
        ("rejected", {name: shown(own) for name, (own, _) in rejected().items()}),
        ("malformed_results", malformed()),
    ):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
        for name, text in files.items():
            (HERE / folder / f"{name}.json").write_text(text, encoding="utf-8")
    answers = {name: answer(HERE / "malformed_results" / f"{name}.json") for name in malformed()}
    (HERE / "malformed_results" / EXPECTED).write_text(shown(answers), encoding="utf-8")
    items = {name: item for name, (_, item) in rejected().items()}
    (HERE / "rejected" / EXPECTED).write_text(shown(items), encoding="utf-8")


if __name__ == "__main__":
    write()
