import copy
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from optimizer.certificate.placement import check_placement
from optimizer.figures.placement_bounds.balance import RejectedError, bound_of, topj_bound
from optimizer.figures.placement_bounds.hierarchy import best_laying, node_bound
from optimizer.figures.placement_bounds.pairings import check_cases
from optimizer.figures.placement_bounds.prices import check_price
from optimizer.placement.pairing import GRID
from optimizer.placement.pairing_program import decide
from tests.placement.enumeration import best, placed

LOAD = [[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86], [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27]]


@pytest.fixture(scope="module")
def solved() -> dict[str, Any]:
    result = placed(LOAD, 4, 4, layer_ids=[3, 4])
    return {"certificate": result.certificate, "placement": result.to_json()}


def test_a_true_certificate_is_accepted(solved: dict[str, Any]) -> None:
    check = check_placement([LOAD], solved["certificate"], json.loads(json.dumps(solved["placement"])))
    assert check.accepted
    assert check.layer is None


def swap_experts(document: dict[str, Any]) -> None:
    devices = document["placement"]["layers"][0]["devices"]
    one = next(expert for expert in devices[0] if expert not in devices[1])
    two = next(expert for expert in devices[1] if expert not in devices[0] and LOAD[0][expert] != LOAD[0][one])
    devices[0][devices[0].index(one)], devices[1][devices[1].index(two)] = two, one


def change(*path: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *steps, key, value = path
        for step in steps:
            document = document[step]
        document[key] = value

    return apply


@pytest.mark.parametrize(
    "mutation",
    [
        swap_experts,
        change("certificate", "layers", 0, "max_over_mean", "1/1"),
        change("certificate", "layers", 0, "bound", "101/100"),
        change("certificate", "layers", 1, "witness", {"kind": "count", "threshold": "5000/1"}),
        change("certificate", "layers", 1, "witness", {"kind": "unheard of"}),
        change("certificate", "layers", 1, "layer", 9),
        change("certificate", "devices", 5),
        change("certificate", "tolerance", "-1/2"),
        change("certificate", "weights", ["1/2"]),
        change("certificate", "layers", []),
        change("placement", "layers", 0, "proved", None),
        change("placement", "layers", 0, "bound", 1.25),
        change("placement", "layers", 0, "max_over_mean", 0.5),
    ],
)
def test_a_changed_certificate_is_rejected(solved: dict[str, Any], mutation: Callable[[dict[str, Any]], None]) -> None:
    document = copy.deepcopy(solved)
    mutation(document)
    check = check_placement([LOAD], document["certificate"], document["placement"])
    assert not check.accepted
    assert check.reason


def test_count_bound_holds_exactly_to_its_threshold() -> None:
    # One expert of 100 with 3 spare slots: shares of 25 at best.
    load, devices = [100, 1, 1, 1], 7
    assert bound_of(load, devices, 1, {"kind": "count", "threshold": "25/1"}) == Fraction(25 * 7, 103)
    with pytest.raises(RejectedError):
        bound_of(load, devices, 1, {"kind": "count", "threshold": "2501/100"})


def test_topj_bound_is_reached() -> None:
    load = [100, 90, 3, 2, 1, 1]
    assert max(topj_bound(load, 2, j) for j in range(1, 7)) == 101
    assert best([load], 3, 2) == Fraction(101 * 3, 197)


def refuted(load: list[int], threshold: int, values: list[int], cases: dict[str, Any]) -> bool:
    return check_cases(load, len(load) // 2, Fraction(threshold), [Fraction(value) for value in values], cases) is None


def test_pairing_refutes_only_below_the_optimum() -> None:
    # Three copies are larger than 12 - 5 and must meet three below 5, of which there are two.
    load, cases = [10, 9, 8, 5, 4, 3], {"price": 0, "points": [[0, 1]]}
    optimum = best([load], 3, 2) * sum(load) / 3
    assert optimum == 13
    assert refuted(load, 12, [5], cases)
    assert not refuted(load, 13, [5], cases)
    assert not refuted(load, 12, [2], cases)
    assert not refuted(load, 12, [5], {"price": 0, "points": []})


def test_pairing_refuses_values_beyond_half_and_disordered() -> None:
    assert check_cases([5, 5], 1, Fraction(8), [Fraction(5)], {"price": 0, "points": [[0, 1]]}) is not None
    assert check_cases([5, 5], 1, Fraction(8), [Fraction(3), Fraction(2)], {"price": 0, "points": []}) is not None
    assert check_cases([5, 5], 1, Fraction(8), [Fraction(3)], {"price": 0, "points": [[0, -1]]}) is not None
    assert check_cases([5, 5], 1, Fraction(8), [Fraction(3)], {"price": 0, "points": [[1, 1]]}) is not None


def test_every_case_must_be_refuted() -> None:
    load, devices = [20, 9, 9, 9, 2, 2], 4
    optimum = best([load], devices, 2) * sum(load) / devices
    threshold = int(optimum * GRID) // 2 * 2 - 2
    witness = decide(load, devices, threshold, programs=50, deadline=None).witness
    assert witness is not None

    def split(copies: int, **sides: Any) -> dict[str, Any]:
        return {**witness, "cases": {"expert": 0, "copies": copies, "at_most": witness["cases"], **sides}}

    assert bound_of(load, devices, 2, split(2, more=witness["cases"])) > 0
    loose = {"price": 0, "points": []}
    with pytest.raises(RejectedError, match="cheapest copies cost"):
        bound_of(load, devices, 2, split(2, more=loose))
    with pytest.raises(RejectedError, match="cheapest copies cost"):
        bound_of(load, devices, 2, split(3, more=witness["cases"], at_most=loose))
    with pytest.raises(RejectedError, match="not written"):
        bound_of(load, devices, 2, {**witness, "cases": {"price": 0}})


def test_prices_refute_only_below_the_optimum() -> None:
    load = [6, 6, 6, 1, 1, 1, 1, 1, 1]
    optimum = best([load], 3, 3) * sum(load) / 3
    assert optimum == 8
    sizes, prices = [Fraction(0), Fraction(1), Fraction(6)], [0, 1, 6]
    assert check_price(load, 3, 3, Fraction(7), sizes, prices) is None
    assert check_price(load, 3, 3, Fraction(8), sizes, prices) is not None


def test_laying_of_groups_is_the_best() -> None:
    costs = {
        (0, 1): Fraction(5),
        (0, 2): Fraction(3),
        (0, 3): Fraction(4),
        (1, 2): Fraction(2),
        (1, 3): Fraction(6),
        (2, 3): Fraction(1),
    }
    cost, laying = best_laying(costs, 4)
    assert cost == 4
    assert laying == ((0, 3), (1, 2))


def test_node_bound_is_the_mean_or_the_least_largest_share() -> None:
    assert node_bound([5, 4, 4], 3, 1) == 5
    assert node_bound([5, 4, 4], 2, 2) == Fraction(13, 2)
    assert node_bound([100, 1, 1, 1], 7, 1) == 25


TWO = [[[90, 1, 1, 1, 1]], [[1, 90, 1, 1, 1]]]


@pytest.mark.parametrize(
    ("witness", "bound", "reason"),
    [
        ({"kind": "envelope", "threshold": "315/94"}, "315/94", None),
        ({"kind": "envelope", "threshold": "316/94"}, "158/47", "158/47"),
        ({"kind": "envelope", "threshold": "-1/1"}, "-1/1", "not more than"),
        ({"kind": "combination", "parts": ["1/2", "1/2"], "bound": {"kind": "average"}}, "1/1", None),
        (
            {"kind": "combination", "parts": ["1/1", "0"], "bound": {"kind": "count", "threshold": "30/1"}},
            "105/47",
            None,
        ),
        ({"kind": "combination", "parts": ["1/2", "1/3"], "bound": {"kind": "average"}}, "1/1", "do not add up"),
        ({"kind": "combination", "parts": ["3/2", "-1/2"], "bound": {"kind": "average"}}, "1/1", "negative"),
        ({"kind": "combination", "parts": ["1/1"], "bound": {"kind": "average"}}, "1/1", "do not add up"),
        ({"kind": "combination", "parts": ["1/2", "1/2"]}, "1/1", "needs the parts"),
    ],
)
def test_bounds_over_workloads(witness: dict[str, Any], bound: str, reason: str | None) -> None:
    result = placed(TWO, 7, 1)
    certificate, placement = result.certificate, result.to_json()
    layer = certificate["layers"][0]
    layer["witness"], layer["bound"] = witness, bound
    value = Fraction(bound)
    placement["layers"][0] |= {"bound": float(value), "proved": result.max_over_mean - value <= result.tolerance}
    check = check_placement(TWO, certificate, placement)
    assert check.accepted is (reason is None)
    assert reason is None or reason in str(check.reason)


def test_an_envelope_says_nothing_of_the_mean() -> None:
    result = placed(TWO, 7, 1, robust="mean")
    certificate = result.certificate
    certificate["layers"][0]["witness"] = {"kind": "envelope", "threshold": certificate["layers"][0]["bound"]}
    check = check_placement(TWO, certificate, result.to_json())
    assert check.reason == "an envelope bounds the worst workload under the even split only"
    certificate["layers"][0]["witness"] = {"kind": "combination", "parts": ["1/3", "2/3"], "bound": {"kind": "average"}}
    assert "mixed by the weights" in str(check_placement(TWO, certificate, result.to_json()).reason)
