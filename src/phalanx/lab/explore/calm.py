"""No wedge: whatever has happened, once messages flow and time passes, those that live come together.

Asked of every quiet state (nothing in flight to anybody alive, nothing waiting for the disk): from there the members run
on in virtual time, every message arrives at once, and evidence of crashes comes.  If those that live are a quorum of the
last view, they must reach a view in common, nobody frozen, with all that was multicast delivered.
"""

from collections.abc import Iterable

from phalanx.lab.explore.birth import turn
from phalanx.lab.explore.fork import fork
from phalanx.lab.explore.members import Broken, Members, State, StateId
from phalanx.lab.explore.scenarios import NAMES
from phalanx.model.clock import SECOND
from phalanx.model.history import Sent
from phalanx.model.machine import Refused
from phalanx.model.view import View
from phalanx.parts.quorum import is_quorum

PATIENCE_NS = 60 * SECOND
"""Many times every period of the scenarios."""


class Calm:
    """Asks every combination of states once."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._verdicts: dict[tuple[StateId, ...], str | None] = {}

    def judge(self, state: tuple[StateId, StateId, StateId]) -> str | None:
        """Why those that live do not come together; None if they do, or are too few."""
        if state not in self._verdicts:
            self._verdicts[state] = self._verdict([self._members.states[i] for i in state])
        return self._verdicts[state]

    @property
    def judged(self) -> Iterable[tuple[StateId, ...]]:
        """The quiet states that were asked."""
        return self._verdicts.keys()

    def _verdict(self, states: list[State]) -> str | None:
        if _together(states):
            return None
        states = [state.copy() for state in states]
        for state in states:
            if state.machine is not None:
                state.machine = fork(state.machine)
        now = max(state.mono for state in states)
        end = now + PATIENCE_NS
        slow, self._members.scenario = self._members.scenario, self._members.scenario._replace(slow_disk=False)
        try:
            gone = [Refused(NAMES[place]) for place, state in enumerate(states) if state.machine is None]
            while now < end and not _together(states):
                turn(self._members, states, now, gone)
                deadlines = [d for s in states if s.machine is not None and (d := s.machine.deadline) is not None]
                now = max(now + 1, min(deadlines, default=end))
        except Broken as broken:
            return f"raised in calm: {broken}"
        finally:
            self._members.scenario = slow
        return None if now < end or _together(states) else f"wedge: {_where(states)}"


def _last_view(states: list[State]) -> View | None:
    views = [s.machine.view for s in states if s.machine is not None and s.machine.view is not None]
    views += [s.parting for s in states if s.parting is not None and s.machine is not None]
    return max((v for v in views if v is not None), key=lambda v: v.id, default=None)


def _together(states: list[State]) -> bool:
    """Those that live share a view and have nothing left to do; or they are too few for anything."""
    alive = [s.machine for s in states if s.machine is not None and s.parting is None]
    last = _last_view(states)
    if last is None or not is_quorum(last, [m.me.name for m in alive]):
        return True
    for machine in alive:
        view = machine.view
        if view != last or view.named(machine.me.name) != machine.me or machine.is_fenced:
            return False
        crashed = {NAMES[i] for i, s in enumerate(states) if s.machine is None or s.parting is not None}
        if crashed & {m.name for m in view.members}:
            return False
        if any(machine.backlog(group.id) or not machine.is_synced(group.id) for group in view.groups):
            return False
    sent = {p for s in states if s.machine is not None and s.parting is None for p in _sent(s)}
    return all(sent <= set(s.payloads(g.id)) for s in states if s.machine and s.parting is None for g in last.groups)


def _sent(state: State) -> list[bytes]:
    return [e.payload for e in state.history if isinstance(e, Sent)]


def _where(states: list[State]) -> str:
    told = []
    for name, state in zip(NAMES, states, strict=True):
        machine = state.machine
        if machine is None or state.parting is not None:
            told.append(f"{name} {'crashed' if machine is None else 'is out'}")
        else:
            view = machine.view
            members = "/".join(m.name for m in view.members) if view is not None else "none"
            told.append(
                f"{name} is in view {view.id if view is not None else '-'} of {members}, suspects "
                f"{','.join(sorted(machine.suspects)) or 'nobody'}"
            )
    return "; ".join(told)
