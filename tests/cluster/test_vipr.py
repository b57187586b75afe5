"""VIPR files of derivations, read and checked by a reader of the format that shares nothing with the writer.

Format: https://github.com/ambros-gleixner/VIPR, cert_spec_v1_1.md. The files of the same clusters pass its `viprchk`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest

from optimizer.cli.main import run
from optimizer.cluster import solve_cluster
from optimizer.errors import Exit
from optimizer.fleet.program import DerivationStep, Lemma, Program, derived_bound, with_lemmas
from optimizer.fleet.vipr import vipr
from tests.cluster.brute_force import random_cluster

SEEDS = (0, 5, 11, 13, 18, 24, 29, 34, 49, 61, 63)
"""Splits, roundings, leaves that are empty; feasible and infeasible."""


class WrongError(Exception):
    pass


@dataclass
class Constraint:
    terms: dict[int, Fraction]
    sense: str
    right: Fraction
    assumed: frozenset[int] = field(default_factory=frozenset)

    @property
    def sign(self) -> int:
        return {"G": 1, "E": 0, "L": -1}[self.sense]

    @property
    def absurd(self) -> bool:
        false = {"G": self.right > 0, "L": self.right < 0, "E": self.right != 0}[self.sense]
        return not self.terms and false

    def dominates(self, other: Constraint) -> bool:
        if self.absurd:
            return True
        if self.terms != other.terms or self.sense not in {other.sense, "E"}:
            return False
        return {
            "G": self.right >= other.right, "L": self.right <= other.right, "E": self.right == other.right,
        }[other.sense]  # fmt: skip


class Reader:
    def __init__(self, text: str) -> None:
        self.words = text.split()
        self.at = 0

    def word(self, *expected: str) -> str:
        word = self.words[self.at]
        self.at += 1
        if expected and word not in expected:
            raise WrongError(f"{word}: {expected} expected")
        return word

    def whole(self) -> int:
        return int(self.word())

    def pairs(self) -> dict[int, Fraction]:
        found = [(self.whole(), Fraction(self.word())) for _ in range(self.whole())]
        return {index: value for index, value in found if value}

    def constraint(self) -> Constraint:
        self.word()
        sense, right = self.word("E", "G", "L"), Fraction(self.word())
        return Constraint(self.pairs(), sense, right)


def combined(lines: list[Constraint], factors: dict[int, Fraction]) -> Constraint:
    signs = {
        lines[number].sign * (factor > 0) - lines[number].sign * (factor < 0) for number, factor in factors.items()
    }
    if {1, -1} <= signs:
        raise WrongError("senses that do not go together")
    terms: dict[int, Fraction] = {}
    right, assumed = Fraction(0), frozenset[int]()
    for number, factor in factors.items():
        own = lines[number]
        right += factor * own.right
        assumed |= own.assumed
        for index, value in own.terms.items():
            terms[index] = terms.get(index, Fraction(0)) + factor * value
    sense = "G" if 1 in signs else "L" if -1 in signs else "E"
    return Constraint({index: value for index, value in terms.items() if value}, sense, right, assumed)


def rounded(own: Constraint, whole: set[int]) -> Constraint:
    if any(value.denominator > 1 or index not in whole for index, value in own.terms.items()):
        raise WrongError("rounds what is not whole")
    up, down = -(-own.right.numerator // own.right.denominator), own.right.numerator // own.right.denominator
    return Constraint(own.terms, own.sense, Fraction(up if own.sense == "G" else down), own.assumed)


def resolved(lines: list[Constraint], asked: Constraint, numbers: list[int], whole: set[int]) -> frozenset[int]:
    one, below, other, above = numbers
    low, high = lines[below], lines[above]
    split = low.terms == high.terms and (low.sense, high.sense) == ("L", "G") and high.right == low.right + 1
    if not split or low.right.denominator > 1 or not set(low.terms) <= whole:
        raise WrongError("halves that leave something out")
    if not (lines[one].dominates(asked) and lines[other].dominates(asked)):
        raise WrongError("a half that does not prove it")
    return (lines[one].assumed - {below}) | (lines[other].assumed - {above})


def derived(file: Reader, lines: list[Constraint], whole: set[int]) -> None:
    asked = file.constraint()
    file.word("{")
    reason = file.word("asm", "lin", "rnd", "uns")
    if reason == "asm":
        asked.assumed = frozenset({len(lines)})
    elif reason == "uns":
        asked.assumed = resolved(lines, asked, [file.whole() for _ in range(4)], whole)
    else:
        found = combined(lines, file.pairs())
        found = rounded(found, whole) if reason == "rnd" else found
        if not found.dominates(asked):
            raise WrongError("a combination that does not prove it")
        asked.assumed = found.assumed
    file.word("}")
    last = file.whole()
    if last != -1 and last < len(lines):
        raise WrongError("used for the last time before it is derived")
    lines.append(asked)


def check(text: str) -> Fraction | None:
    """What a file proves: a bound of the objective that is minimised, or None: that nothing keeps the constraints."""
    file = Reader(text)
    file.word("VER"), file.word("1.1"), file.word("VAR")
    names = [file.word() for _ in range(file.whole())]
    file.word("INT")
    whole = {file.whole() for _ in range(file.whole())}
    file.word("OBJ"), file.word("min")
    objective = file.pairs()
    file.word("CON")
    stated, bounds = file.whole(), file.whole()
    lines = [file.constraint() for _ in range(stated)]
    if any(len(line.terms) != 1 for line in lines[:bounds]) or len(names) * 2 != bounds:
        raise WrongError("bounds")
    file.word("RTP")
    bound = Fraction(file.word()) if file.word("infeas", "range") == "range" else None
    if bound is not None:
        file.word("inf")
    file.word("SOL"), file.word("0"), file.word("DER")
    for _ in range(file.whole()):
        derived(file, lines, whole)
    last = lines[-1]
    proved = last.absurd if bound is None else last.dominates(Constraint(objective, "G", bound))
    if not proved or last.assumed or file.at != len(file.words):
        raise WrongError("does not prove its relation")
    return bound


def solved(seed: int) -> tuple[Program, Sequence[Lemma], Sequence[DerivationStep]]:
    result = solve_cluster(random_cluster(seed))
    assert result.program is not None
    return result.program, result.lemmas, result.steps


@pytest.mark.parametrize("seed", SEEDS)
def test_the_file_proves_what_the_certificate_does(seed: int) -> None:
    program, lemmas, steps = solved(seed)
    bound = derived_bound(with_lemmas(program, lemmas), steps)
    assert check(vipr(program, lemmas, steps)) == (None if bound is None else bound - program.constant)


def test_a_changed_number_is_refused() -> None:
    """Every right side of a derived constraint, made stronger by one."""
    program, lemmas, steps = solved(24)
    text = vipr(program, lemmas, steps)
    head, _, tail = text.partition("DER ")
    for line in re.findall(r"^D\d+ .*\{ (?:lin|rnd|uns) .*$", tail, re.MULTILINE):
        name, sense, right, rest = line.split(" ", 3)
        if rest.startswith("0 {"):
            continue  # from an absurdity anything follows
        changed = line.replace(f"{name} {sense} {right} {rest}", f"{name} {sense} {Fraction(right) + 1} {rest}")
        with pytest.raises(WrongError):
            check(head + "DER " + tail.replace(line, changed))
    with pytest.raises(WrongError):
        check(re.sub(r"RTP range (\S+)", lambda m: f"RTP range {Fraction(m[1]) + 1}", text))


def test_an_assumption_that_stays_is_refused() -> None:
    program, lemmas, steps = solved(24)
    text = vipr(program, lemmas, steps)
    last = [line for line in text.splitlines() if "uns" in line][-1]
    swapped = re.sub(r"uns (\d+) (\d+) (\d+) (\d+)", r"uns \3 \2 \1 \4", last)
    with pytest.raises(WrongError):
        check(text.replace(last, swapped))


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bound.vipr"
    asked = ["solve", "qwen3-32b-h200-8", "--devices", "7", "--objective", "throughput", "--vipr", str(path)]
    assert run([*asked, "--json"]) == Exit.YES
    bound = json.loads(capsys.readouterr().out)["certificate"]["objective"]["bound"]
    assert check(path.read_text()) == -Fraction(bound)  # what is maximised is negated
    path.unlink()
    assert run([*asked, "--max-kinds", "1"]) == Exit.YES
    assert "no VIPR file" in capsys.readouterr().err
    assert not path.exists()
