"""(pipeline) pp stages in a row, none empty, cover every layer."""

from __future__ import annotations

from ortools.sat.python import cp_model

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.problem import Problem


class Pipeline(Family):
    """Stage cuts."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """No more stages than layers."""
        return axis != "pp" or value <= problem.model.layer_count

    def post(self, own: Statement) -> None:
        """Where each stage ends, and how many layers of each kind it holds."""
        model, layers = own.model, own.problem.model.layer_count
        kinds = own.prices.order
        model.add(own.ends[-1] == layers)
        before: cp_model.IntVar | int = 0
        for stage, end in enumerate(own.ends):
            used = own.uses_stage[stage]
            model.add(own.pp > stage).only_enforce_if(used)
            model.add(own.pp <= stage).only_enforce_if(~used)
            model.add(end >= before + 1).only_enforce_if(used)
            model.add(end == before).only_enforce_if(~used)
            before = end
        for kind in range(len(own.prices.counts)):
            held = [sum(other == kind for other in kinds[:end]) for end in range(layers + 1)]
            earlier: cp_model.IntVar | int = 0
            for stage, end in enumerate(own.ends):
                passed = own.up_to(layers, "layers passed", least=0)
                model.add_element(end, held, passed)
                model.add(own.layers[stage][kind] == passed - earlier)
                earlier = passed
