"""Testing what is built on Phalanx.

simulate   run a replicated class under simulated disasters
faults     what can go wrong in them, by the terms of the literature
cluster    a cluster for a test, whose nodes can be killed, paused and cut off (pytest: the fixture `phalanx_cluster`)
"""

from phalanx.lab.processes import NodeEnded, NotReached
from phalanx.sim import faults
from phalanx.testing.cluster import Arranged, SyncNodes, cluster
from phalanx.testing.draws import Call, call
from phalanx.testing.nodes import Nodes
from phalanx.testing.simulation import Finding, Report, SimulationFailed, simulate

__all__ = [
    "Arranged",
    "Call",
    "Finding",
    "NodeEnded",
    "Nodes",
    "NotReached",
    "Report",
    "SimulationFailed",
    "SyncNodes",
    "call",
    "cluster",
    "faults",
    "simulate",
]
