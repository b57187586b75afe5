"""(memory) No device of any stage holds more than the exposed memory × utilisation.

Weights and what the engine keeps of a stage's layers, cache of the whole batch, the step's tensors, input and output.
"""

from __future__ import annotations

from optimizer.declarative.statement import Family, Statement


class Memory(Family):
    """Bytes of the fullest device of each stage."""

    def post(self, own: Statement) -> None:
        """Every byte coefficient of the reference at the chosen degrees."""
        model, capacity = own.model, own.problem.capacity_bytes
        cached = own.cached_layers()
        tokens = own.of_step([p.working_tokens for p in own.prices.steps], "working tokens")
        sampled = own.of_step([p.sampled for p in own.prices.steps], "sampled sequences")
        for row, chosen in enumerate(own.chosen):
            shape, held = own.rows[row], own.prices.memory[row]
            for stage in range(shape.pp):
                fixed = held.reserve_bytes
                fixed += held.input.total_bytes if stage == 0 else 0
                fixed += held.output.total_bytes if stage == shape.pp - 1 else 0
                layers = [
                    own.layers[stage][kind] * (w.total_bytes + reserved + extra) + cached[stage][kind] * sequence
                    for kind, (w, reserved, extra, sequence) in enumerate(
                        zip(held.weights, held.layer_reserve, held.admission, held.sequence, strict=True)
                    )
                ]
                sampling = sampled * held.sampled_bytes + tokens * held.hidden_bytes + held.sampler_bytes
                for working in (tokens * held.token_bytes, sampling):
                    model.add(sum(layers) + fixed + working <= own.memory_bytes).only_enforce_if(chosen)
        model.add(own.memory_bytes <= capacity)
