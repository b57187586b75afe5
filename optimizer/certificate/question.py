"""Whether the problem of a document is the one that was asked, and whether what it names is what the catalog holds."""

from __future__ import annotations

from typing import Any

from optimizer.certificate.verdict import Check, equal
from optimizer.domain.cluster import Cluster
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.readers import catalog

UNBOUND = "whether this problem is the one that was asked (--problem FILE compares them)"
_FREE: dict[str, Any] = {"name": True, "model": {"source"}, "hardware": {"source"}}
"""Fields that no figure depends on, and the digest leaves out."""


def bind(problem: Problem, asked: Problem | None, check: Check) -> None:
    """Compare the problem of a document with the one asked, or, where none was given, its parts with the catalog.

    A model or hardware under a name of the catalog must be the catalog's, the model's precision aside, which a problem
    may override. Others are taken as the document states them.
    """
    check.asked = problem
    if asked is None:
        check.not_checked.append(UNBOUND)
        check.not_checked.append("problem.name")
        _model_of_catalog(problem.model, "problem.model", check)
        _hardware_of_catalog(problem.hardware, "problem.hardware", check)
        return
    equal("problem", _stated(problem), _stated(asked))
    check.checked.append("problem: the one that was asked")
    if problem.name != asked.name:
        check.not_checked.append("problem.name")
    for part in ("model", "hardware"):
        if getattr(problem, part).source != getattr(asked, part).source:
            check.not_checked.append(f"problem.{part}.source")


def _stated(problem: Problem) -> dict[str, Any]:
    return problem.model_dump(mode="json", exclude=_FREE)


def bind_cluster(cluster: Cluster, asked: Cluster | None, check: Check) -> None:
    """The same of a cluster: the one that was asked, or its models and hardware those of the catalog."""
    check.asked = cluster
    if asked is not None:
        equal("problem", cluster.model_dump(mode="json"), asked.model_dump(mode="json"))
        check.checked.append("problem: the one that was asked")
        return
    check.not_checked += [UNBOUND, "problem.name"]
    for demand in cluster.demands:
        if demand.model is not None:
            _model_of_catalog(demand.model, f"problem.demands.{demand.name}.model", check)
    for pool in cluster.pools:
        if pool.hardware is not None:
            _hardware_of_catalog(pool.hardware, f"problem.pools.{pool.name}.hardware", check)
    if cluster.rates:
        check.not_checked.append("problem.rates: taken as stated")


def _model_of_catalog(model: ModelSpec, item: str, check: Check) -> None:
    listed = catalog.load_model(model.name) if model.name in catalog.names("models") else None
    _listed(model, listed and listed.model_copy(update={"precision": model.precision}), item, check)


def _hardware_of_catalog(hardware: HardwareSpec, item: str, check: Check) -> None:
    sold = catalog.load_hardware(hardware.name) if hardware.name in catalog.names("hardware") else None
    _listed(hardware, sold, item, check)


def _listed(itself: ModelSpec | HardwareSpec, listed: ModelSpec | HardwareSpec | None, item: str, check: Check) -> None:
    """Equal to the catalog's entry; None: there is none."""
    if listed is None:
        check.not_checked += [f"{item}: {itself.name} is not in the catalog, taken as stated", f"{item}.source"]
    else:
        equal(item, itself.model_dump(mode="json"), listed.model_dump(mode="json"))
        check.checked.append(f"{item}: {itself.name} of the catalog")
