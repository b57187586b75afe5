"""Sweeps: a grid of problems, solved on all cores or on a cluster, into one table."""

from optimizer.sweep.grid import Cell, Grid, read_grid
from optimizer.sweep.run import Options, sweep

__all__ = ["Cell", "Grid", "Options", "read_grid", "sweep"]
