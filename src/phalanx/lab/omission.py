"""Process groups whose processes omit, overflow and are slow: what `phalanx sim --scenario omission` runs.

All other faults are there as well.  A process that loses what it sends or is sent, while its connections stand, looks
healthy to whoever it does not concern.
All promises of `lab.groups` hold under this, and after the storm all members must be full members again.
"""

from phalanx.lab.groups import GroupScenario
from phalanx.model.clock import SECOND
from phalanx.sim.swarm import Swarm


class OmissionScenario(GroupScenario):
    """See the module's text."""

    swarm = Swarm(storm_ns=4 * SECOND, lapses=1.0)
