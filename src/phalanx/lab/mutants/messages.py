"""Without rules about what is delivered: cuts, rows, reads and leases, clocks, sessions."""

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import msgspec

from phalanx.group import proposal as proposal_module
from phalanx.group.acceptor import Acceptor
from phalanx.group.channel import Channel
from phalanx.group.flush import Attempt
from phalanx.group.machine import GroupMachine
from phalanx.group.membership import Membership
from phalanx.group.messages import (
    Ack,
    Cut,
    Data,
    Decision,
    GroupRow,
    Prepare,
    Progress,
    Promise,
)
from phalanx.group.multicast import Multicasting
from phalanx.group.reads import Reads
from phalanx.group.regroup import Census, Regrouping, continue_group, found_groups
from phalanx.lab.mutants.registry import mutant
from phalanx.model.clock import COUNTER_BITS, MILLISECOND, Instant, Stamp
from phalanx.model.events import BarrierFailed, BarrierReached
from phalanx.model.machine import Output
from phalanx.model.view import Group, GroupId, Name
from phalanx.parts.holdback import Causal
from phalanx.parts.hybrid import HybridClock
from phalanx.parts.quorum import is_quorum
from phalanx.parts.stability import Stability
from phalanx.replication.sessions import Fresh, Sessions, Verdict
from phalanx.services.store.leases import Leases

# --- the cut: 1, 2, 3, 14, 19 ------------------------------------------------------------------------------------------


def _nobody_lacks(_: Attempt) -> dict[Name, tuple[Cut, ...]]:
    return {}


mutant("it accepts without gathering", 1, (Attempt, "lacking", _nobody_lacks))

_lacking = Attempt.lacking


def _only_i_lack(self: Attempt) -> dict[Name, tuple[Cut, ...]]:
    return {name: cuts for name, cuts in _lacking(self).items() if name == self.ballot.name}


mutant("it gathers for itself only", 2, (Attempt, "lacking", _only_i_lack))

_found_groups = found_groups


def _groups_with_old_ids(*grounds: Any) -> list[Group]:
    return [msgspec.structs.replace(g, id=crc32(g.spec.name.encode())) for g in _found_groups(*grounds)]


mutant("a new group has the old id", 3, (proposal_module, "found_groups", _groups_with_old_ids))


def _rest_as_it_stands(self: Causal[Data], upto: Sequence[int]) -> list[Data]:
    taken: list[Data] = []
    for author, queue in enumerate(self.pending):
        while queue and queue[0].number <= upto[author]:
            self._take(queue, taken)
    return taken


mutant("the rest of a causal cut is delivered as it stands", 14, (Causal, "rest", _rest_as_it_stands))

_promise_of = Acceptor._promise


def _nothing_received(self: Acceptor, message: Prepare) -> Promise:
    promise = _promise_of(self, message)
    core = self.core
    if promise.live or core.view is None:
        return promise
    groups = [g for g in core.view.groups if core.name in g.hosts]
    return msgspec.structs.replace(
        promise,
        progress=tuple(Progress(g.id, (0,) * len(g.hosts), (0,) * len(g.hosts), True, core.view.id) for g in groups),
    )


_continue_group = continue_group


def _believe_restarted(group: Group, census: Census) -> Regrouping | None:
    believed = {n: p if p.live else msgspec.structs.replace(p, live=True) for n, p in census.promises.items()}
    return _continue_group(group, census._replace(promises=believed))


mutant(
    "a restarted host has received nothing",
    19,
    (Acceptor, "_promise", _nothing_received),
    (proposal_module, "continue_group", _believe_restarted),
)

# --- delivery: 4, 6, 7, 17 ---------------------------------------------------------------------------------------------


def _always_quorate(_: Multicasting, __: Channel) -> bool:
    return True


mutant("a minority of hosts delivers by itself", 4, (Multicasting, "_is_quorate", _always_quorate))

_show_rows = Multicasting.show_rows


def _show_rows_frozen(self: Multicasting) -> None:
    core = self.core
    flush, core.flush = core.flush, None
    _show_rows(self)
    core.flush = flush


mutant("frozen members show rows", 6, (Multicasting, "show_rows", _show_rows_frozen))

_show = Stability.show


def _show_at_once(self: Stability, host: int, clock: Stamp, last: int, received: Sequence[int]) -> None:
    _show(self, host, clock, last, received)
    self.clocks[host] = max(self.clocks[host], clock)


mutant("a row counts at once", 7, (Stability, "show", _show_at_once))

_row, _ack = Channel.row, Channel.ack


def _row_of_consumed(self: Channel, backlog: int, synced: bool) -> GroupRow:
    row = _row(self, backlog, synced)
    return msgspec.structs.replace(row, received=(0,) * len(row.received)) if backlog else row


def _ack_of_consumed(self: Channel, clock: Stamp, backlog: int) -> Ack:
    ack = _ack(self, clock, backlog)
    return msgspec.structs.replace(ack, received=(0,) * len(ack.received)) if backlog else ack


mutant(
    "consumption is what is acknowledged",
    17,
    (Channel, "row", _row_of_consumed),
    (Channel, "ack", _ack_of_consumed),
)

# --- reads and leases: 8, and ARCHITECTURE, decision 5 -----------------------------------------------------------------

_may_accept_at = Reads.may_accept_at


def _accept_after_restart(self: Reads, value: Decision) -> int:
    return _may_accept_at(self, value) if self.core.live else 0


mutant("a restart forgets the leases it granted", 8, (Reads, "may_accept_at", _accept_after_restart))


def _lease_since_arrival(self: Reads) -> bool:
    core = self.core
    lease = self._lease
    if not lease or core.view is None or not core.active:
        return False
    heard = {name: core.detector.silence.last_heard(name) for name in core.rows}
    fresh = {name for name, at in heard.items() if at is not None and core.now.mono < at + lease}
    return is_quorum(core.view, {core.name} | fresh)


mutant("a lease is counted from its echo's arrival", 8, (Reads, "_holds_lease", _lease_since_arrival))

_step = GroupMachine.step
_previous: WeakKeyDictionary[GroupMachine, Instant] = WeakKeyDictionary()


def _step_with_cached_time(self: GroupMachine, events: Iterable[Any], now: Instant) -> Output:
    before = _previous.get(self, now)
    _previous[self] = now
    return _step(self, events, before)


mutant("time is read before the events are taken", 8, (GroupMachine, "step", _step_with_cached_time))

_holds_lease, _on_row = Reads._holds_lease, Reads.on_row
_held_at: WeakKeyDictionary[Reads, int] = WeakKeyDictionary()


def _remember_lease(self: Reads, sender: Name) -> None:
    _on_row(self, sender)
    if _holds_lease(self):
        _held_at[self] = self.core.now.mono


def _lease_of_any_view(self: Reads) -> bool:
    lease = self._lease
    return lease > 0 and self.core.active and self.core.now.mono < _held_at.get(self, -lease) + lease // 2


mutant(
    "a lease goes on into the next view",
    8,
    (Reads, "on_row", _remember_lease),
    (Reads, "_holds_lease", _lease_of_any_view),
)


def _reached_by_view(self: Reads, value: Decision | None) -> None:
    core = self.core
    for w in self._waiting:
        group = value.view.group(w.group) if value is not None else None
        here = group is not None and core.name in group.hosts
        core.out.deliveries.append((BarrierReached if here else BarrierFailed)(w.group, w.token))
    self._waiting = []
    self._granted.clear()


mutant("a barrier is reached by installing a view", 0, (Reads, "end_view", _reached_by_view))

# --- clocks: 10, 11 ----------------------------------------------------------------------------------------------------


def _restart_alone(self: HybridClock, _: Stamp) -> None:
    self.now += 1


mutant("a view begins with each member's own clock", 10, (HybridClock, "restart", _restart_alone))


def _no_limit(_: HybridClock, __: Instant) -> int:
    return 1 << 62


mutant("every clock is believed", 11, (HybridClock, "_limit", _no_limit))


def _wait(_: HybridClock, __: Instant) -> None:
    return


mutant("time that is ahead of the clocks stands still", 0, (HybridClock, "_slew", _wait))


def _run(self: HybridClock, now: Instant) -> None:
    line = self._slewed_from + ((now.mono - self._slewed_at) << COUNTER_BITS) * 2 // MILLISECOND
    if 0 <= self._slewed_from <= self.now <= line:
        self.now = line
    else:
        self._slewed_from, self._slewed_at = self.now, now.mono


mutant("time that is ahead of the clocks goes at twice their speed", 0, (HybridClock, "_slew", _run))


def _all_that_is_left(self: Leases) -> int:
    remaining: int = self._order[0][0] - self._now_ms
    return remaining


mutant("a leap of time counts in full for leases", 0, (Leases, "_step", _all_that_is_left))

# --- sessions: 15 ------------------------------------------------------------------------------------------------------

_begin = Sessions.begin


def _highest_number_only(self: Sessions, session_id: int, number: int, low: int) -> Any:
    session = self._by_id.get(session_id)
    if session is not None and number <= max(session.outcomes, default=0) and number not in session.outcomes:
        return Verdict.SETTLED
    return _begin(self, session_id, number, low)


mutant("a session remembers its highest number only", 15, (Sessions, "begin", _highest_number_only))


def _open_implicitly(self: Sessions, session_id: int, number: int, low: int) -> Any:
    verdict = _begin(self, session_id, number, low)
    if verdict is Verdict.UNKNOWN and self.open(session_id):
        return Fresh.FRESH
    return verdict


mutant("an unknown session is opened", 15, (Sessions, "begin", _open_implicitly))


# --- who leaves ---------------------------------------------------------------------------------------------------------


def _has_none(_: Membership, __: GroupId) -> bool:
    return False


mutant("who leaves waits for no delivery", 0, (Membership, "_has_messages", _has_none))
