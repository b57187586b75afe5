"""``python -m benchmarks --smoke``: the smoke set in under a minute; without it, the command `shardproof bench`."""

import sys

from optimizer.cli.main import run

SMOKE = ["bench", "smoke", "--evaluations", "2000", "--time-limit", "5", "--no-peers"]


def arguments(given: list[str]) -> list[str]:
    """Arguments of `shardproof`."""
    if "--smoke" not in given:
        return ["bench", *given]
    return [*SMOKE, *(word for word in given if word != "--smoke")]


if __name__ == "__main__":
    sys.exit(run(arguments(sys.argv[1:])))
