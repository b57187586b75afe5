"""A derivation as a VIPR file: the format of certificates of integer programs (Cheung, Gleixner and Steffy 2017).

https://github.com/ambros-gleixner/VIPR, version 1.1. Variables are free, bounds are the first constraints; a leaf is a
linear combination of constraints (`lin`), rounded (`rnd`) where the objective's values lie on a grid; a split assumes
both of its halves (`asm`) and resolves them (`uns`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from optimizer.fleet.program import (
    DerivationStep,
    Lemma,
    Program,
    derived_bound,
    lemma_name,
    lemma_program,
    with_lemmas,
)

VariableBounds = Mapping[str, tuple[int, int]]
"""Of each variable the constraints that bound it from below and from above."""


@dataclass
class _Constraint:
    """A line of `CON` or `DER`: terms, sense, right side; how it is derived."""

    terms: dict[str, Fraction]
    sense: str
    right: Fraction
    reason: str = ""


@dataclass
class _File:
    program: Program
    numbers: dict[str, int] = field(default_factory=dict)
    lines: list[_Constraint] = field(default_factory=list)
    last: dict[int, int] = field(default_factory=dict)

    def add(self, line: _Constraint, uses: Iterable[int] = ()) -> int:
        """Its number."""
        number = len(self.lines)
        self.lines.append(line)
        self.last.update(dict.fromkeys(uses, number))
        return number

    def combined(self, factors: Mapping[int, Fraction], name: str = "lin") -> int:
        """A sum of constraints, each so often; the rounded one's right side is a whole number."""
        terms: dict[str, Fraction] = {}
        right = Fraction(0)
        for number, factor in factors.items():
            line = self.lines[number]
            right += factor * line.right
            for variable, value in line.terms.items():
                terms[variable] = terms.get(variable, Fraction(0)) + factor * value
        nonzero = {variable: value for variable, value in terms.items() if value}
        right = Fraction(-(-right.numerator // right.denominator)) if name == "rnd" else right
        listed = " ".join(f"{number} {factor}" for number, factor in factors.items())
        return self.add(_Constraint(nonzero, "G", right, f"{name} {len(factors)} {listed}"), factors)

    def assume(self, variable: str, sense: str, right: Fraction) -> int:
        """Half of a split."""
        return self.add(_Constraint({variable: Fraction(1)}, sense, right, "asm"))


def vipr(program: Program, lemmas: Sequence[Lemma], steps: Sequence[DerivationStep]) -> str:
    """The text of the file: that nothing keeps the rows, or that the objective, its constant apart, is no less.

    Raises
    ------
    DerivationError
        Where the steps prove nothing.
    """
    stronger = with_lemmas(program, lemmas)
    bound = derived_bound(stronger, steps)
    file = _File(program)
    bounds: dict[str, tuple[int, int]] = {}
    for variable in program.variables.values():
        low, high = (
            file.add(_Constraint({variable.name: Fraction(1)}, sense, right))
            for sense, right in (("G", variable.lower), ("L", variable.upper))
        )
        bounds[variable.name] = low, high
    for row in program.rows.values():
        file.numbers[row.name] = file.add(_Constraint(dict(row.terms), "G", row.least))
    stated = len(file.lines)
    for number, lemma in enumerate(lemmas):
        # the steps of a lemma name no row of a later one
        part = lemma_program(stronger, lemma.terms)
        file.numbers[lemma_name(number)] = _derive(file, part, lemma.steps, bounds)
    _derive(file, stronger, steps, bounds)
    return _text(file, stated, None if bound is None else bound - program.constant)


def _derive(file: _File, program: Program, steps: Sequence[DerivationStep], whole: VariableBounds) -> int:
    """Leaves, and splits after both of their halves; the number of what they prove."""
    proved: dict[int, int] = {}
    halves: dict[int, tuple[int, int]] = {}
    stack: list[tuple[int, VariableBounds, bool]] = [(0, whole, False)]
    while stack:
        at, bounds, done = stack.pop()
        step = steps[at]
        if step.variable is None:
            proved[at] = _leaf(file, program, step, bounds)
        elif done:
            below, above = halves[at]
            pair = (proved[step.low], below, proved[step.high], above)
            weaker = min((file.lines[pair[0]], file.lines[pair[2]]), key=_strength)
            reason = "uns " + " ".join(map(str, pair))
            proved[at] = file.add(_Constraint(dict(weaker.terms), "G", weaker.right, reason), pair)
        else:
            name, split = step.variable, Fraction(step.split)
            low, high = bounds[name]
            below, above = file.assume(name, "L", split), file.assume(name, "G", split + 1)
            halves[at] = below, above
            # whichever bound is the tighter one
            upper = below if split < file.lines[high].right else high
            lower = above if split + 1 > file.lines[low].right else low
            stack += [
                (at, bounds, True), (step.high, {**bounds, name: (lower, high)}, False),
                (step.low, {**bounds, name: (low, upper)}, False),
            ]  # fmt: skip
    return proved[0]


def _strength(line: _Constraint) -> tuple[bool, Fraction]:
    """A contradiction has every other constraint for a consequence."""
    return not line.terms and line.right > 0, line.right


def _leaf(file: _File, program: Program, step: DerivationStep, bounds: VariableBounds) -> int:
    for low, high in bounds.values():
        if file.lines[low].right > file.lines[high].right:
            return file.combined({low: Fraction(1), high: Fraction(-1)})
    reduced = {} if step.empty else dict(program.objective)
    factors: dict[int, Fraction] = {}
    for name, factor in step.multipliers.items():
        if factor:
            factors[file.numbers[name]] = factor
        for variable, coefficient in program.rows[name].terms.items():
            reduced[variable] = reduced.get(variable, Fraction(0)) - factor * coefficient
    for variable, coefficient in reduced.items():
        if coefficient:
            factors[bounds[variable][0 if coefficient > 0 else 1]] = coefficient
    combined = file.combined(factors)
    grid = None if step.empty else program.grid()
    if grid is None or not (file.lines[combined].right / grid).denominator > 1:
        return combined
    rounded = file.combined({combined: 1 / grid}, "rnd")
    return file.combined({rounded: grid})


def _row(line: _Constraint, index: Mapping[str, int]) -> str:
    listed = " ".join(f"{index[name]} {value}" for name, value in line.terms.items())
    return f"{line.sense} {line.right} {len(line.terms)} {listed}".rstrip()


def _text(file: _File, stated: int, bound: Fraction | None) -> str:
    program = file.program
    index = {name: number for number, name in enumerate(program.variables)}
    whole = [str(index[variable.name]) for variable in program.variables.values() if not variable.continuous]
    objective = " ".join(f"{index[name]} {value}" for name, value in program.objective.items())
    lines = [
        "VER 1.1", f"VAR {len(index)}",
        *(f"x{number}_{re.sub('[^0-9A-Za-z]+', '_', name)}" for name, number in index.items()),
        f"INT {len(whole)}", " ".join(whole), "OBJ min", f"{len(program.objective)} {objective}".rstrip(),
        f"CON {stated} {2 * len(index)}",
        *(f"C{number} {_row(line, index)}" for number, line in enumerate(file.lines[:stated])),
        "RTP infeas" if bound is None else f"RTP range {bound} inf", "SOL 0", f"DER {len(file.lines) - stated}",
        *(
            f"D{number} {_row(line, index)} {{ {line.reason} }} {file.last.get(number, -1)}"
            for number, line in enumerate(file.lines[stated:], stated)
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
