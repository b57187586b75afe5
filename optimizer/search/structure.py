"""The lattice's counts from the search's arrays, in the form that certificates state."""

from __future__ import annotations

from typing import Any

from optimizer.domain.lattice import holds
from optimizer.search.search import Search


def structure(search: Search) -> dict[str, Any]:
    """Axes, mesh pairs left and excluded, and points; equal to `optimizer.certificate.meshes.Lattice.to_json`."""
    own = search.axes
    each = len(own.pp) * len(own.chunks)
    excluded = {family.value: count for family, count in search.excluded_meshes.items()}
    return {
        "axes": {
            "tp": list(own.tp), "cp": list(own.cp), "pp": list(own.pp), "etp": list(own.etp), "ep": list(own.ep),
            "prefill_chunk": list(own.chunks), "redundant": list(own.redundant),
        },
        "holds": holds(search.problem),
        "mesh_pairs": search.mesh_pairs,
        "excluded": dict(sorted(excluded.items())),
        "points": (search.mesh_pairs + sum(excluded.values())) * each,
    }  # fmt: skip
