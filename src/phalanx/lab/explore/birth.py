"""The state in which every exploration begins: view 1, three full members, one group, all quiet.

The birth is not explored: the founders start together, every message arrives at once and in order, until the view is
there and everybody has shown every row; then a last heartbeat is exchanged and time stops.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from phalanx.lab.explore.members import Members, MessageId, Place, Posted, State, StateId
from phalanx.lab.explore.scenarios import NAMES
from phalanx.model.clock import SECOND
from phalanx.model.machine import Received

SETTLED_NS = 3 * SECOND
"""After this every pause that a new view imposes is over."""


def births(members: Members) -> tuple[StateId, ...]:
    """Found the cluster; the numbers of its members' states."""
    members.wall = SECOND
    states = [State(place, members.machine(place, None, 0), 0, members.scenario.sends[place]) for place in range(3)]
    slow, members.scenario = members.scenario, members.scenario._replace(slow_disk=False)
    now = 0
    while now < SETTLED_NS:
        now = max(now, min(d for s in states if s.machine is not None and (d := s.machine.deadline) is not None))
        turn(members, states, now)
    for state in states:
        assert state.machine is not None and state.machine.view is not None
        assert [m.name for m in state.machine.view.members] == list(NAMES), "the birth is undisturbed"
    turn(members, states, now + SECOND)  # later than any heartbeat was due: all are heard now
    members.scenario = slow
    return tuple(members.add(state) for state in states)


def turn(members: Members, states: list[State], now: int, events: Iterable[Any] = ()) -> None:
    """Those events reach all at that time, and messages flow until none is left.  Changes the states."""
    links: deque[tuple[Place, Place, MessageId]] = deque()

    def post(place: Place, posted: Posted) -> None:
        links.extend((place, to, message) for to, message in posted)

    for place, state in enumerate(states):
        if state.machine is not None:
            state.mono = max(state.mono, now)
            post(place, members.step(state, events))
    while links:
        place, to, message = links.popleft()
        if states[to].machine is not None:
            post(to, members.step(states[to], [Received(NAMES[place], members.messages[message][1])]))
