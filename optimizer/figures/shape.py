"""The shape of a layout: the degrees of one of its replicas."""

from __future__ import annotations

from optimizer.domain.layout import Layout
from optimizer.domain.shape import Shape

__all__ = ["Shape", "shape_of"]


def shape_of(layout: Layout) -> Shape:
    """The shape of one replica of a layout."""
    return Shape(layout.tp, layout.cp, layout.etp, layout.ep, layout.pp, layout.redundant_slots)
