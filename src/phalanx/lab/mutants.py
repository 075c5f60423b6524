"""The group core with one rule taken out: what the tests of the counter-examples run against.

Each counter-example of DESIGN section 13 shaped a rule.  A *mutant* replaces the code of one rule by what one would have
written without it; a test that does not notice the difference does not test the rule.

    with planted("a row counts at once"):
        ...  # every machine made or stepped in here lacks the rule

Only the process-wide classes are changed, and only inside the block.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary
from zlib import crc32

import msgspec

from phalanx.group import coordinator as coordinator_module
from phalanx.group import core as core_module
from phalanx.group import detector as detector_module
from phalanx.group import flush as flush_module
from phalanx.group import proposal as proposal_module
from phalanx.group.acceptor import Acceptor
from phalanx.group.channel import Channel
from phalanx.group.coordinator import Coordinator
from phalanx.group.core import Core
from phalanx.group.flush import Attempt
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import (
    Alive,
    Ballot,
    Cut,
    Data,
    Decision,
    GroupRow,
    Prepare,
    Progress,
    Promise,
)
from phalanx.group.multicast import Multicasting
from phalanx.group.proposal import Grounds
from phalanx.group.reads import Reads
from phalanx.model.clock import Instant, Stamp
from phalanx.model.events import BarrierFailed, BarrierReached
from phalanx.model.machine import Output
from phalanx.model.view import Address, Group, Member, Name, View
from phalanx.parts.holdback import Causal
from phalanx.parts.hybrid import HybridClock
from phalanx.parts.quorum import is_quorum
from phalanx.parts.stability import Stability
from phalanx.replication.sessions import Fresh, Sessions, Verdict


class Patch(NamedTuple):
    """The attribute of a class or module that is replaced, and what by."""

    owner: Any
    attribute: str
    wrong: Any


class Mutant(NamedTuple):
    """A rule that is taken out."""

    number: int
    """Of the counter-example in DESIGN section 13; 0: that of ARCHITECTURE, decision 5."""
    patches: tuple[Patch, ...]


MUTANTS: dict[str, Mutant] = {}
"""By name: what the code does instead of the right thing."""


@contextmanager
def planted(*names: str) -> Iterator[None]:
    """Run the block without the rules that these mutants lack."""
    with ExitStack() as stack:
        for name in names:
            for owner, attribute, wrong in MUTANTS[name].patches:
                stack.callback(setattr, owner, attribute, vars(owner)[attribute])
                setattr(owner, attribute, wrong)
        yield


def _mutant(name: str, number: int, *patches: tuple[Any, str, Any]) -> None:
    for owner, attribute, _ in patches:
        assert attribute in vars(owner), f"{name}: there is no {attribute} to replace"
    MUTANTS[name] = Mutant(number, tuple(Patch(*patch) for patch in patches))


# --- the cut: 1, 2, 3, 14, 19 ------------------------------------------------------------------------------------------


def _nobody_lacks(_: Attempt) -> dict[Name, tuple[Cut, ...]]:
    return {}


_mutant("it accepts without gathering", 1, (Attempt, "lacking", _nobody_lacks))

_lacking = Attempt.lacking


def _only_i_lack(self: Attempt) -> dict[Name, tuple[Cut, ...]]:
    return {name: cuts for name, cuts in _lacking(self).items() if name == self.ballot.name}


_mutant("it gathers for itself only", 2, (Attempt, "lacking", _only_i_lack))

_new_groups = proposal_module._new_groups


def _groups_with_old_ids(*grounds: Any) -> list[Group]:
    return [msgspec.structs.replace(g, id=crc32(g.spec.name.encode())) for g in _new_groups(*grounds)]


_mutant("a new group has the old id", 3, (proposal_module, "_new_groups", _groups_with_old_ids))


def _rest_as_it_stands(self: Causal[Data], upto: Sequence[int]) -> list[Data]:
    taken: list[Data] = []
    for author, queue in enumerate(self.pending):
        while queue and queue[0].number <= upto[author]:
            self._take(queue, taken)
    return taken


_mutant("the rest of a causal cut is delivered as it stands", 14, (Causal, "rest", _rest_as_it_stands))

_promise_of = Acceptor._promise


def _nothing_received(self: Acceptor, message: Prepare) -> Promise:
    promise = _promise_of(self, message)
    core = self.core
    if promise.live or core.view is None:
        return promise
    groups = [g for g in core.view.groups if core.name in g.hosts]
    return msgspec.structs.replace(
        promise, progress=tuple(Progress(g.id, (0,) * len(g.hosts), synced=True) for g in groups)
    )


_continue_group = proposal_module._continue_group


def _believe_restarted(group: Group, promises: Mapping[Name, Promise], *rest: Any) -> Any:
    believed = {n: p if p.live else msgspec.structs.replace(p, live=True) for n, p in promises.items()}
    return _continue_group(group, believed, *rest)


_mutant(
    "a restarted host has received nothing",
    19,
    (Acceptor, "_promise", _nothing_received),
    (proposal_module, "_continue_group", _believe_restarted),
)

# --- delivery: 4, 6, 7, 17 ---------------------------------------------------------------------------------------------


def _always_quorate(_: Multicasting, __: Channel) -> bool:
    return True


_mutant("a minority of hosts delivers by itself", 4, (Multicasting, "_is_quorate", _always_quorate))

_show_rows = Multicasting.show_rows


def _show_rows_frozen(self: Multicasting) -> None:
    core = self.core
    flush, core.flush = core.flush, None
    _show_rows(self)
    core.flush = flush


_mutant("frozen members show rows", 6, (Multicasting, "show_rows", _show_rows_frozen))

_show = Stability.show


def _show_at_once(self: Stability, host: int, clock: Stamp, last: int, received: Sequence[int]) -> None:
    _show(self, host, clock, last, received)
    self.clocks[host] = max(self.clocks[host], clock)


_mutant("a row counts at once", 7, (Stability, "show", _show_at_once))

_row = Channel.row


def _row_of_consumed(self: Channel, backlog: int, synced: bool) -> GroupRow:
    row = _row(self, backlog, synced)
    return msgspec.structs.replace(row, received=(0,) * len(row.received)) if backlog else row


_mutant("consumption is what is acknowledged", 17, (Channel, "row", _row_of_consumed))

# --- who is in: 5, 13 --------------------------------------------------------------------------------------------------


def _restarted_are_full(old: View, grounds: Grounds) -> list[Member]:
    promises = grounds.promises
    if not is_quorum(old, promises.keys()):
        return []
    return [m if (p := promises[m.name]).live else p.wish.member for m in old.members if m.name in promises]


_mutant("restarted voters are full members", 5, (proposal_module, "_full_members", _restarted_are_full))


def _promote_all(old: View, grounds: Grounds, full: Collection[Name]) -> list[Member]:
    ready = [m for m in old.learners if m.name in grounds.promote and m.name in grounds.promises]
    return [m for m in ready if m.name not in full and grounds.promises[m.name].wish.member == m]


_mutant("any number is promoted at once", 5, (proposal_module, "_promoted", _promote_all))


def _majority_always(view: View, names: Collection[Name]) -> bool:
    return is_quorum(msgspec.structs.replace(view, id=1), names)


_mutant(
    "most of the founders found a cluster",
    13,
    *(
        (module, "is_quorum", _majority_always)
        for module in (coordinator_module, core_module, detector_module, flush_module, proposal_module)
    ),
)

# --- reads and leases: 8, and ARCHITECTURE, decision 5 -----------------------------------------------------------------

_may_accept_at = Reads.may_accept_at


def _accept_after_restart(self: Reads, value: Decision) -> int:
    return _may_accept_at(self, value) if self.core.live else 0


_mutant("a restart forgets the leases it granted", 8, (Reads, "may_accept_at", _accept_after_restart))


def _lease_since_arrival(self: Reads) -> bool:
    core = self.core
    lease = self._lease(core.view)
    if not lease or core.view is None or not core.active:
        return False
    heard = {name: core.detector.silence.last_heard(name) for name in core.rows}
    fresh = {name for name, at in heard.items() if at is not None and core.now.mono < at + lease}
    return is_quorum(core.view, {core.name} | fresh)


_mutant("a lease is counted from its echo's arrival", 8, (Reads, "_holds_lease", _lease_since_arrival))

_step = GroupMachine.step
_previous: WeakKeyDictionary[GroupMachine, Instant] = WeakKeyDictionary()


def _step_with_cached_time(self: GroupMachine, events: Iterable[Any], now: Instant) -> Output:
    before = _previous.get(self, now)
    _previous[self] = now
    return _step(self, events, before)


_mutant("time is read before the events are taken", 8, (GroupMachine, "step", _step_with_cached_time))

_holds_lease, _on_row = Reads._holds_lease, Reads.on_row
_held_at: WeakKeyDictionary[Reads, int] = WeakKeyDictionary()


def _remember_lease(self: Reads, sender: Name) -> None:
    _on_row(self, sender)
    if _holds_lease(self):
        _held_at[self] = self.core.now.mono


def _lease_of_any_view(self: Reads) -> bool:
    lease = self._lease(self.core.view)
    return lease > 0 and self.core.active and self.core.now.mono < _held_at.get(self, -lease) + lease // 2


_mutant(
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


_mutant("a barrier is reached by installing a view", 0, (Reads, "end_view", _reached_by_view))

# --- votes: 9, 12, 16, 18 ----------------------------------------------------------------------------------------------

_announce, _tell_successor = Coordinator.announce, Core.tell_successor


def _announce_as_coordinator(self: Coordinator, value: Decision) -> None:
    if self.core.attempt is not None:
        _announce(self, value)


def _tell_while_member(self: Core, address: Address, view: int) -> None:
    if self.view is not None and not self.excluded:
        _tell_successor(self, address, view)


_mutant(
    "the excluded keep the decision to themselves",
    9,
    (Coordinator, "announce", _announce_as_coordinator),
    (Core, "tell_successor", _tell_while_member),
)


def _adopt_nothing(_: Attempt) -> None:
    return None


_mutant("an accepted value is not adopted", 9, (Attempt, "adopted", _adopt_nothing))

_persist = Core.persist


def _forget(*fields: str) -> Callable[..., None]:
    def persist(self: Core, **changes: Any) -> None:
        if {field for field, value in changes.items() if value is not None} != set(fields):
            _persist(self, **changes)

    return persist


_mutant("an acceptance is not written down", 12, (Core, "persist", _forget("promised", "accepted")))
_mutant("a promise is not written down", 12, (Core, "persist", _forget("promised")))


def _refuse_old_ballots(self: Acceptor, view: View, sender: Name, message: Prepare) -> str | None:  # noqa: ARG001  the rule's arguments
    flush = self.core.flush
    assert flush is not None
    return "a higher ballot is promised" if flush.promised and message.ballot < flush.promised else None


_mutant("anyone may freeze the others", 16, (Acceptor, "_refusal", _refuse_old_ballots))


def _watch_nobody(_: Coordinator) -> None:
    """A coordinator that is heard will do something some day."""


_mutant(
    "a hung disk does not show",
    16,
    (Coordinator, "_watch_coordinator", _watch_nobody),
    (core_module, "_EAGER", (*core_module._EAGER, Alive)),
)


def _ballot_without_incarnation(counter: int, name: Name, _: int) -> Ballot:
    return Ballot(counter, name, 0)


_mutant("a ballot has no incarnation", 18, (coordinator_module, "Ballot", _ballot_without_incarnation))

_asked = Coordinator._asked


def _ask_the_others(self: Coordinator, attempt: Attempt) -> list[Name]:
    view = self.core.view
    mine = self.core.name if view is not None and view.id > 0 and len(view.members) > 2 else None  # others suffice
    return [name for name in _asked(self, attempt) if name != mine]


_mutant("a coordinator makes itself no promise", 18, (Coordinator, "_asked", _ask_the_others))

# --- clocks: 10, 11 ----------------------------------------------------------------------------------------------------


def _restart_alone(self: HybridClock, _: Stamp) -> None:
    self.now += 1


_mutant("a view begins with each member's own clock", 10, (HybridClock, "restart", _restart_alone))


def _no_limit(_: HybridClock, __: Instant) -> int:
    return 1 << 62


_mutant("every clock is believed", 11, (HybridClock, "_limit", _no_limit))

# --- sessions: 15 ------------------------------------------------------------------------------------------------------

_begin = Sessions.begin


def _highest_number_only(self: Sessions, session_id: int, number: int, low: int) -> Any:
    session = self._by_id.get(session_id)
    if session is not None and number <= max(session.outcomes, default=0) and number not in session.outcomes:
        return Verdict.SETTLED
    return _begin(self, session_id, number, low)


_mutant("a session remembers its highest number only", 15, (Sessions, "begin", _highest_number_only))


def _open_implicitly(self: Sessions, session_id: int, number: int, low: int) -> Any:
    verdict = _begin(self, session_id, number, low)
    if verdict is Verdict.UNKNOWN and self.open(session_id):
        return Fresh.FRESH
    return verdict


_mutant("an unknown session is opened", 15, (Sessions, "begin", _open_implicitly))
