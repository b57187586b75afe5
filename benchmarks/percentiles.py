"""How far percentiles of TTFT and TPOT are from measured ones, at a stated request rate.

`benchmarks/data/percentiles.csv`: stages of vLLM on H100, 16-bit, driven by inference-perf at a constant rate at which
all requests were served, from github.com/inference-sim/sim-to-real-accuracy-validation. Llama-2-7B has the shape of
CodeLlama-7B. Two chunks were sent for each token, so that TPOT is its percentile there ÷ its mean there · the mean that
follows from the time of whole requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median

from benchmarks import table
from optimizer import read_problem
from optimizer.domain.layout import Layout
from optimizer.domain.limits import LATENCIES, PERCENTILES
from optimizer.figures.serving import evaluate


@dataclass(frozen=True)
class Stage:
    """Predicted ÷ measured of one stage, by the name of a figure (`ttft_p99`)."""

    model: str
    requests_per_s: float
    ratios: dict[str, float]


def stages() -> Iterator[Stage]:
    """Every stage of the table, priced with requests that come at random at its rate."""
    for row in table("percentiles.csv"):
        tp = int(row["tp"])
        problem = read_problem(
            {
                "model": row["model"], "hardware": "h100-sxm-8", "devices": tp, "engine": "vllm",
                "workload": {
                    "input_tokens": int(row["isl"]), "output_tokens": int(row["osl"]),
                    "request_rate": float(row["requests_per_s"]), "max_num_seqs": int(row["max_num_seqs"]),
                    "max_num_batched_tokens": int(row["max_num_batched_tokens"]),
                },
            }
        )  # fmt: skip
        found = evaluate(problem, Layout(tp=tp, etp=tp, batch=int(row["max_num_seqs"])))
        ratios = {}
        for share in PERCENTILES:
            for name, value in (("ttft", found.first_token_s(share)), ("tpot", found.tpots[share])):
                if value is not None:
                    ratios[f"{name}_p{share}"] = float(value) * 1000 / float(row[f"{name}_p{share}_ms"])
        yield Stage(row["model"], float(row["requests_per_s"]), ratios)


SPREAD = "p99 ÷ p50"


def errors() -> dict[str, dict[str, list[float]]]:
    """Predicted ÷ measured, by figure and model; no TTFT of stages whose queue has no end in the figures.

    The spread, p99 ÷ p50, is a figure as well: it is what arrivals do, whatever the error of the step times.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for stage in stages():
        ratios = dict(stage.ratios)
        for name in LATENCIES:
            if f"{name}_p99" in ratios:
                ratios[f"{name} {SPREAD}"] = ratios[f"{name}_p99"] / ratios[f"{name}_p50"]
        for name, ratio in ratios.items():
            found[name][stage.model].append(ratio)
    return found


def report() -> None:
    """Print the error of each percentile, by model."""
    for name, groups in errors().items():
        print(f"\n{f'constant rate: {name}':<44}{'stages':>6}{'mean':>9}{'median':>9}{'bias':>9}")
        everything = [ratio for ratios in groups.values() for ratio in ratios]
        for model, ratios in [*sorted(groups.items()), ("all", everything)]:
            shares = [abs(ratio - 1) for ratio in ratios]
            print(f"{model:<44}{len(shares):>6}{mean(shares):>9.1%}{median(shares):>9.1%}{median(ratios) - 1:>+9.1%}")


if __name__ == "__main__":
    report()
