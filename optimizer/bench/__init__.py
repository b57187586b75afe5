"""The benchmark: scenarios, the search beside baselines that the same reference prices, records and their history."""

from optimizer.bench.record import SCHEMA, Record
from optimizer.bench.run import Settings, run
from optimizer.bench.scenarios import Scenario, scenarios

__all__ = ["SCHEMA", "Record", "Scenario", "Settings", "run", "scenarios"]
