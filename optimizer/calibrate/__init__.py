"""A person's own runs → few factors of a hardware, their spread, and how they do on runs they have not seen."""

from optimizer.calibrate.calibrate import Calibrated, RunGroup, calibrate

__all__ = ["Calibrated", "RunGroup", "calibrate"]
