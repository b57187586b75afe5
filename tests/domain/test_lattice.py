"""The lattice that search and checker share, beside a statement of its own: numbers tried one by one."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from optimizer.domain import lattice
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.problem import Problem
from tests.small_problems import chunks, small_problem

SEEDS = range(150)

MUTANTS = (
    ("for t in range(1, widest + 1)", "for t in range(1, widest)"),
    ("for t in range(1, widest + 1)", "for t in (1, 2, 4, 8, 16) if t <= widest"),
    ("and divides_widths(problem, t)", ""),
    ("if any(count % tp for count in block.attention.head_counts)", "if False"),
    ("kv % tp and tp % kv", "kv % tp"),
    ("else range(1, devices + 1)", "else range(1, min(devices, 4) + 1)"),
    ("if c <= devices", "if c < devices"),
    ("min(model.layer_count, devices) + 1", "min(model.layer_count, devices)"),
    ("m.intermediate % t == 0 for m in moe_blocks", "m.intermediate % t == 0 for m in moe_blocks[:1]"),
    ("experts + max(redundant)", "experts"),
    ("experts = min(m.experts", "experts = max(m.experts"),
    ("etp=_restricted(etp, search.etp)", "etp=tuple(etp)"),
    ("ep=_restricted(ep, search.ep)", "ep=tuple(ep)"),
    ("range(prompt, packed + 1, prompt)", "range(prompt, packed, prompt)"),
    ("LARGEST_PACKED_CHUNK) if stated is None else stated", "LARGEST_PACKED_CHUNK)"),
    ("if work.mixes else prompt", "if not work.decodes else prompt"),
    ("-(-prompt // ((prompt - 1) // (piece - 1) + 1))", "-(-piece // 2)"),
    ("return pieces | {1}", "return pieces"),
    ("{chunk for chunk in chunks if chunk <= most}", "{chunk for chunk in chunks if chunk < most}"),
    ("(False, True) if experts and problem.engine.overlaps", "(False, True) if problem.engine.overlaps"),
    ("(False, True) if experts and problem.engine.overlaps", "(False, True) if experts"),
    ("in overlaps and experts >= split", "in overlaps"),
    ('("two_batch" if split else "none") in overlaps', '"none" in overlaps'),
)  # fmt: skip


@cache
def problem_of(seed: int) -> Problem:
    """A small problem, drawn once, on other numbers of devices and of tokens than can be priced one by one."""
    rng, problem = Random(seed), small_problem(seed)  # noqa: S311 - test data
    work = problem.workload.model_dump() | {"input_tokens": rng.choice([1, 2, 7, 96, 1000, 4096, 8192, 8193])}
    if problem.workload.phase == "aggregated":
        work["max_num_batched_tokens"] = rng.choice([None, None, 100, 8192, 20_000])
    open_axes = {name: None for name in ("cp", "prefill_chunk") if rng.random() < 0.5}
    asked = type(problem.workload).model_validate(work)
    search = problem.search.model_copy(update=open_axes)
    return problem.model_copy(update={"devices": rng.randint(1, 24), "workload": asked, "search": search})


def counts_divided(problem: Problem, tp: int) -> bool:
    """Heads and dense widths, in whole shares: key and value heads may be copied instead of divided."""
    for block in problem.model.blocks.values():
        if block.attention is not None:
            copied = block.attention.kv_head_count
            if copied is not None and copied % tp != 0 and tp % copied != 0:
                return False
            if [heads for heads in block.attention.head_counts if heads % tp != 0]:
                return False
        if isinstance(block.ffn, DenseFeedForward) and block.ffn.intermediate % tp != 0:
            return False
        if isinstance(block.ffn, MixtureOfExperts) and block.ffn.dense_intermediate % tp != 0:
            return False
    return True


def stated(problem: Problem) -> dict[str, set[int | None]]:
    """Every axis: each number up to the devices is asked whether it is one of its values."""
    asked, numbers = problem.search, range(1, problem.devices + 1)
    sparse = problem.model.moe is not None
    experts = [block.moe for block in problem.model.blocks.values() if block.moe is not None and sparse]
    spare = set(problem.experts.redundant_slots) if problem.experts is not None and experts else {0}
    free: dict[str, set[int | None]] = {
        "tp": {n for n in numbers if counts_divided(problem, n)},
        "cp": set(numbers),
        "pp": {n for n in numbers if n <= problem.model.layer_count},
        "etp": {n for n in numbers if all(moe.intermediate % n == 0 for moe in experts) and (experts or n == 1)},
        "ep": {n for n in numbers if all(n <= moe.experts + max(spare) for moe in experts) and (experts or n == 1)},
    }
    for name, values in free.items():
        allowed = getattr(asked, name)
        free[name] = values if allowed is None else {n for n in values if n in allowed}
    splitting = bool(experts) and (asked.overlap is not None or problem.engine_name in ("any", "vllm", "sglang"))
    overlap = {split for split in (False, True) if splitting or not split}
    if asked.overlap is not None:
        overlap &= {own == "two_batch" for own in asked.overlap}
    return free | {"redundant": set(spare), "chunks": set(chunks(problem)), "overlap": overlap}


def differs(own: ModuleType, seed: int) -> list[str]:
    """Axes of a problem that are not as stated, or not in ascending order."""
    problem = problem_of(seed)
    found = own.axes(problem)
    return [
        name
        for name, values in stated(problem).items()
        if set(getattr(found, name)) != values
        or list(getattr(found, name)) != sorted(set(getattr(found, name)), key=lambda value: value or 0)
    ]


@pytest.mark.parametrize("first", range(0, len(SEEDS), 50))
def test_axes_hold_what_is_stated(first: int) -> None:
    for seed in range(first, first + 50):
        assert differs(lattice, seed) == [], seed


@pytest.mark.parametrize(("before", "after"), MUTANTS)
def test_another_lattice_is_told_from_it(before: str, after: str, tmp_path: Path) -> None:
    source = Path(lattice.__file__).read_text(encoding="utf-8")
    assert source.count(before) == 1
    file = tmp_path / "mutant_lattice.py"
    file.write_text(source.replace(before, after), encoding="utf-8")
    spec = spec_from_file_location("mutant_lattice", file)
    assert spec is not None
    assert spec.loader is not None
    mutant = sys.modules["mutant_lattice"] = module_from_spec(spec)
    spec.loader.exec_module(mutant)
    assert any(differs(mutant, seed) for seed in SEEDS)
