"""The checker stands alone: no solver, no search, no NumPy; and it can be read in one sitting."""

import subprocess
import sys
from pathlib import Path

import optimizer.certificate
from tests.certificate.corpus import HERE

FORBIDDEN = (
    "numpy",
    "ortools",
    "optimizer.solve",
    "optimizer.search",
    "optimizer.placement",
    "optimizer.cluster",
    "optimizer.explain",
)
READ = (
    "aims", "check", "conflict", "documents", "goals", "meshes", "optimality", "placed", "question", "reach", "reading",
    "relaxed", "statement", "verdict", "witness_forms",
)  # fmt: skip
PROBE = """
import json, sys
from optimizer.certificate import certify
with open(sys.argv[1]) as file:
    check = certify(json.load(file))
print(check.accepted, *sorted(sys.modules))
"""


def loaded(program: list[str]) -> tuple[str, set[str]]:
    """First word that a program prints, and the modules it has loaded."""
    done = subprocess.run([sys.executable, *program], capture_output=True, text=True, check=True)
    first, *modules = done.stdout.split()
    return first, set(modules)


def test_certify_loads_no_solver_and_no_arrays() -> None:
    for name in ("optimal", "joint", "infeasible"):
        verdict, modules = loaded(["-c", PROBE, str(HERE / "accepted" / f"{name}.json")])
        assert verdict == "True"
        assert "optimizer.certificate.check" in modules
        for module in FORBIDDEN:
            assert not any(own == module or own.startswith(module + ".") for own in modules), module


def test_the_command_loads_no_solver_either() -> None:
    program = (
        "import sys\nfrom optimizer.cli.main import run\nsys.stdout = sys.stderr\n"
        "status = run(['certify', sys.argv[1]])\nsys.stdout = sys.__stdout__\nprint(status, *sys.modules)"
    )
    status, modules = loaded(["-c", program, str(HERE / "accepted" / "optimal.json")])
    assert status == "0"
    assert not any(own.partition(".")[0] in ("numpy", "ortools") for own in modules)
    assert not any(
        own.startswith(("optimizer.solve", "optimizer.search", "optimizer.placement", "optimizer.cluster"))
        for own in modules
    )


def test_the_checker_can_be_read_in_one_sitting() -> None:
    folder = Path(optimizer.certificate.__file__).parent
    texts = {name: (folder / f"{name}.py").read_text().splitlines() for name in READ}
    lines = {name: sum(bool(line.strip()) for line in text) for name, text in texts.items()}
    assert max(lines.values()) < 320, lines
    assert sum(lines.values()) < 2010, lines
    # without reading the document and what placements add
    others = ("placed", "reading", "witness_forms")
    assert sum(count for name, count in lines.items() if name not in others) < 1650, lines
