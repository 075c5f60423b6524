"""Testing what is built on Phalanx: `simulate` runs a replicated class under simulated disasters."""

from phalanx.testing.draws import Call, call
from phalanx.testing.simulation import Finding, Report, SimulationFailed, simulate

__all__ = ["Call", "Finding", "Report", "SimulationFailed", "call", "simulate"]
