"""Linear programs that grow and change while they are solved: GLOP's dual simplex method, from basis to basis."""

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.errors import InternalError

_DUAL = "use_dual_simplex: true use_preprocessing: false"
_PRIMAL = "use_dual_simplex: false use_preprocessing: true"


def new_program() -> pywraplp.Solver:
    """An empty program.

    Raises
    ------
    InternalError
        OR-Tools offers no GLOP.
    """
    program = pywraplp.Solver.CreateSolver("GLOP")
    if program is None:
        raise InternalError("OR-Tools offers no GLOP")
    program.SetSolverSpecificParametersAsString(_DUAL)
    return program


def solved(program: pywraplp.Solver) -> bool:
    """Solve the program; whether to the end, from the last basis or, where that fails, by the primal method."""
    if program.Solve() == pywraplp.Solver.OPTIMAL:
        return True
    anew = pywraplp.MPSolverParameters()
    anew.SetIntegerParam(anew.INCREMENTALITY, anew.INCREMENTALITY_OFF)
    program.SetSolverSpecificParametersAsString(_PRIMAL)
    status = program.Solve(anew)
    program.SetSolverSpecificParametersAsString(_DUAL)
    return bool(status == pywraplp.Solver.OPTIMAL)
