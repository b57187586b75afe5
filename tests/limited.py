"""A limit that tests put on a problem: the best that keeps it, and a certificate that leaves it out."""

from fractions import Fraction

from optimizer.certificate import certify
from optimizer.certificate.statement import sealed
from optimizer.domain.problem import Problem
from optimizer.solve import solve
from optimizer.solve.places import waits


def assert_limited(question: Problem, free: Problem, best: Fraction, named: object) -> bool:
    """`solve` and its certificate have the best value under a limit; whether without the limit more is possible.

    Where it is, the certificate of the problem without the limit proves nothing of the one with it.
    """
    answer = solve(question)
    if answer.best is None:
        # of the layouts that the search found none has places enough
        assert waits(question), named
        assert answer.status == "unknown", named
        return False
    assert answer.bound == best, named
    assert answer.best.value == best or (waits(question) and answer.status == "feasible"), named
    document = answer.to_json()
    assert certify(document).accepted
    without = solve(free)
    assert without.best is not None
    if without.best.value <= answer.best.value:
        return False
    claim = without.to_json()
    claim["problem"] = document["problem"]
    claim["certificate"] = sealed(claim["certificate"] | {"problem_digest": question.digest})
    assert not certify(claim).accepted
    return True
