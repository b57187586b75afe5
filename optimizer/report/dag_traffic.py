"""The graph of a result's layout, with the bytes that each stage's collectives move in a mean step."""

from fractions import Fraction

from optimizer.errors import Fault, SpecError
from optimizer.figures.bandwidth import stage_traffic
from optimizer.report.dag import Dag, Degrees, build_dag
from optimizer.report.subject import Subject


def meshes_of(subject: Subject) -> Degrees:
    """Degrees of the layout; no expert mesh for a model without experts.

    Raises
    ------
    SpecError
        Nothing fits, so that there is no layout.
    """
    layout = subject.layout
    if layout is None:
        raise SpecError(Fault(None, None, None, "layout", "the result has none: nothing fits"))
    dense = {"tp": layout.tp, "cp": layout.cp, "dp": layout.dp, "pp": layout.pp}
    if subject.problem.model.moe is None:
        return Degrees(**dense)
    return Degrees(**dense, etp=layout.etp, ep=layout.ep, edp=layout.edp)


def dag_of(subject: Subject) -> Dag:
    """Graph of the layout; bytes that one device sends in a mean step, over every link tier, by axis and stage.

    Raises
    ------
    SpecError
        As `meshes_of`.
    """
    meshes = meshes_of(subject)
    evaluation = subject.evaluation
    if evaluation is None:
        return build_dag(meshes)
    found = []
    for stage in stage_traffic(subject.problem, evaluation, subject.skew):
        sizes: dict[str, Fraction] = {}
        for (axis, _), size in stage.items():
            sizes[axis] = sizes.get(axis, Fraction(0)) + size
        found.append({axis: round(size) for axis, size in sizes.items()})
    return build_dag(meshes, found)
