"""The solver and the derivation alone, on a published program of another kind: layers on nodes for the largest flow.

Helix (ASPLOS 2025; Thesys-lab/Helix-ASPLOS25 148b733, single_cluster/layout_llama30b/ilp/t4): 60 layers on 12 T4 nodes,
of which each serves so many tokens/s with one layer, two, …; published optimum 397.685. A test of solvers: its aim
has no cache and no latency, so that it says nothing of how well a layout serves.
"""

from __future__ import annotations

from fractions import Fraction

from optimizer.certificate.fleet import TOLERANCE
from optimizer.cluster.derive import derive
from optimizer.cluster.integers import IntegerProgram
from optimizer.fleet.program import Program, derived_bound

LAYERS = 60
T4 = (1803.9976213, 808.4988910, 539.0154803, 356.6720491, 397.6850641, 331.3734213, 230.9919127)
"""Tokens/s of a node with one layer, two, …"""
PUBLISHED = 397.68506408
UNITS = 1000
"""Of flow in a token/s, so that flows are whole numbers."""


def _program(kinds) -> Program:
    """Nodes counted by kind, first layer and number of layers, and the flow through those; what a layer gets it gives.

    Parameters
    ----------
    kinds
        How many nodes there are of each kind, with their tokens/s.
    """
    program = Program()
    into, out = ({layer: [] for layer in range(LAYERS + 1)} for _ in range(2))
    for kind, (nodes, rates) in enumerate(kinds):
        held = []
        for layers, rate in enumerate(rates, 1):
            for first in range(LAYERS - layers + 1):
                label = f"{kind}: {layers} from {first}"
                count = program.count(f"nodes[{label}]", nodes)
                flow = program.count(f"flow[{label}]", int(rate * UNITS) * nodes)
                program.at_least(f"rate[{label}]", "rate", [(count, int(rate * UNITS)), (flow, -1)], 0)
                held.append((count, 1))
                into[first + layers].append((flow, 1))
                out[first].append((flow, 1))
        program.at_most(f"nodes[{kind}]", "nodes", held, nodes)
    for layer in range(1, LAYERS):
        kept = [*into[layer], *((name, -1) for name, _ in out[layer])]
        program.at_least(f"gets[{layer}]", "flow", kept, 0)
        program.at_most(f"gives[{layer}]", "flow", kept, 0)
    program.objective = {name: Fraction(-1) for name, _ in out[0]}
    return program


def test_the_published_flow_is_found_and_proved():
    program = _program([(12, T4)])
    decided = IntegerProgram(program, 0).decide(None, {})
    assert decided.complete
    assert not program.broken(decided.point)
    value = program.value(decided.point)
    assert abs(float(-value) / UNITS - PUBLISHED) < 2 / UNITS
    found = derive(program, value, TOLERANCE, None)
    assert derived_bound(program, found.steps) == found.bound
    assert value * (1 + TOLERANCE) <= found.bound <= value
