"""(placement) With redundant copies no device holds an expert of a layer twice."""

from __future__ import annotations

from optimizer.declarative.statement import Family, Statement


class Placement(Family):
    """Copies of experts on devices."""

    def post(self, own: Statement) -> None:
        """ceil((experts + redundant) ÷ ep) ≤ experts wherever there are copies."""
        for moe in own.problem.model.moe_blocks:
            for redundant in own.domains["redundant"]:
                if redundant:
                    copies = own.model.new_bool_var(f"{redundant} redundant")
                    own.model.add(own.redundant != redundant).only_enforce_if(~copies)
                    # ceil(slots ÷ ep) ≤ experts ⇔ slots ≤ ep · experts
                    own.model.add(own.ep * moe.experts >= moe.experts + redundant).only_enforce_if(copies)
