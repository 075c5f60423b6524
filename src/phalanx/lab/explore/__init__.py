"""Exhaustive exploration of the real group machine: three members, few messages, few faults, every interleaving.

    scenarios   the bounds
    fork        copy a machine, tell two machines apart
    members     what one member can do next, worked out once
    birth       where every exploration begins
    whole       a state of all, and what can happen to it
    search      all states of three members and their links
    oracle      what must hold in every state
    calm        no quiet state is a wedge
    story       a path for readers

The model of the protocol on paper came first and found most of what DESIGN section 13 lists; this holds the code to it.
Bounds beside those of a scenario: links are FIFO, a turn of a driver has one event (and, after it, what the member sent
itself), applications consume and answer at once, and members that are excluded stay away.
"""

from phalanx.lab.explore.scenarios import SCENARIOS, SHORT, Scenario
from phalanx.lab.explore.search import Explorer, explore
from phalanx.lab.explore.whole import Report

__all__ = ["SCENARIOS", "SHORT", "Explorer", "Report", "Scenario", "explore"]
