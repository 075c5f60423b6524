"""One node's copy of a replicated object: ordered deliveries in, answers and reports out.

A replica is a deterministic function of the entries it was given, in order (Schneider, "Implementing Fault-Tolerant
Services Using the State Machine Approach", 1990).  All of it is in its snapshot: the object's state, the sessions, the
audit, and the counters.  It differs from its peers only in which answers it hands out: those to entries that its own
node sent, since that is where the callers wait.

Rules for one entry, in this order: the position and the clock advance; idle sessions expire; the object is ticked, if it
is due; then the entry is applied.
A command is run only if its session is known, the table has no outcome for it, writes are not stopped, and its
operation, types and arguments are understood; each of these is judged alike by every replica.

Which version of the object's class it runs is part of its state as well; `upgrading` says how that changes.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.model.clock import Stamp, wall_ms
from phalanx.model.events import Delivered
from phalanx.model.replicated import Context, Kind
from phalanx.model.view import Group, Member, Order, View
from phalanx.replication import entries, saving
from phalanx.replication.actions import (
    Action,
    Answered,
    CanRun,
    Judged,
    NotUnderstood,
    Refusal,
    Say,
    Ticked,
    Upgraded,
    UpgradeVoid,
)
from phalanx.replication.audit import AUDIT_INTERVAL, Audit, digest_of
from phalanx.replication.entries import UNREADABLE, Able, Close, Converted, Open, Report, Run, Tick, Touch, Upgrade
from phalanx.replication.hooks import Hooks
from phalanx.replication.lookup import decode, find, find_call, manage, refused
from phalanx.replication.messages import Reason
from phalanx.replication.objects import ObjectType, Operation, OversizedResult, TickHook, UnencodableResult
from phalanx.replication.outcome import Outcome, Returned, raised
from phalanx.replication.saving import Counters, Restoration
from phalanx.replication.session import LIMITS, Limits
from phalanx.replication.sessions import FRESH, Sessions, Verdict
from phalanx.replication.state import HookError
from phalanx.replication.undo import Undo
from phalanx.replication.upgrading import AGREED, Pending, agreed_on, convert
from phalanx.replication.versions import founded_with

T = TypeVar("T")

# Final: ARCHITECTURE, decision 58.
_fields_of: Final = msgspec.structs.astuple
_crc32: Final = zlib.crc32
_decode: Final = entries.decode
_RUN: Final = Run
_COMMAND: Final = Kind.COMMAND


class Replica(Generic[T]):
    """See the module's text.  `newest`: the class, with the versions before it that there is code for; `view`: the one
    that the group is in, -1 if that is not known here."""

    def __init__(
        self,
        newest: ObjectType[T],
        group: Group,
        me: Member,
        limits: Limits = LIMITS,
        audit_interval: int = AUDIT_INTERVAL,
        view: int = -1,
    ) -> None:
        if group.spec.order is not Order.TOTAL:
            raise ConfigurationError(f"group {group.spec.name}: a replicated object needs total order")
        self.newest = newest
        self.kind = kind = newest.versions.get(founded_with(group.spec) or 0, newest)
        """The version that the group runs."""
        self.installed = view
        """The view that the group is in."""
        self._pending: Pending | None = None
        self._converted: Any = None
        """The new state of the upgrade under way, if it was made here."""
        self.group = group
        self._me = me
        self._limits = limits
        self._audit_interval = audit_interval
        self._object: T = kind.state.create()
        self.hooks = Hooks(group.spec.name)
        self._undo = Undo(kind, self._object, self._saving_failed) if kind.undoes else None
        self.sessions = Sessions(limits)
        self._audit = Audit(interval=audit_interval, due=audit_interval)
        self.position = 0
        """Ordered entries so far."""
        self.stamp: Stamp = 0
        """The last one's stamp; never goes back."""
        self._view = -1  # of the last delivery
        self._between_ms = 0  # see `Context`
        self._token = 0
        self._replies = 0  # a running checksum of all outcomes
        self._diverged = False

    @property
    def object(self) -> T:
        """The object as it is now: to be looked at, not to be changed."""
        return self._object

    @property
    def is_upgrading(self) -> bool:
        """An upgrade is under way: what is ordered is held."""
        return self._pending is not None

    @property
    def stopped(self) -> bool:
        """Writes are refused, because the replicas disagree and no majority says who is right."""
        return self._audit.stopped

    @property
    def diverged(self) -> bool:
        """This replica was found wrong: nothing may be read from it any more."""
        return self._diverged

    # --- views and entries ----------------------------------------------------------------------------------------

    def install(self, view: View) -> list[Action]:
        """A view begins."""
        group = view.group(self.group.id)
        assert group is not None, "the gateway drops replicas of groups that are gone"
        actions = self.begun(view.id)
        self.group, self.installed = group, view.id
        return [*actions, *self.caught_up()]

    def caught_up(self) -> list[Action]:
        """All that was ordered before the present view has been delivered."""
        actions = self.begun(self.installed)
        if self._audit.is_open and self._me.name in self.group.hosts:
            actions.append(Say(entries.encode(entries.Hosts(self.installed, self.group.hosts))))
        return actions

    def begun(self, view: int) -> list[Action]:
        """All that was ordered before that view has been delivered: upgrades of before are void, what they held comes."""
        actions: list[Action] = []
        while self._pending is not None and self._pending.upgrade.view != view:
            actions += self._conclude("")
        return actions

    def deliver(self, delivered: Delivered) -> list[Action]:
        """Apply a run of entries; or hold it, while an upgrade is under way.  Raises `CannotGoOn` if the replica
        is of no use any more: `CannotRun` if this node's code does not have the version that the group goes over to."""
        pending = self._pending
        if pending is None:
            return self._apply(delivered)
        if delivered.view != pending.upgrade.view:
            return [*self.begun(delivered.view), *self.deliver(delivered)]
        end = pending.hold(delivered)
        if end is None:
            return []
        fault, rest = end
        actions = self._conclude(fault)
        return [*actions, *self.deliver(rest)] if rest.payloads else actions

    def _apply(self, delivered: Delivered) -> list[Action]:
        actions: list[Action] = []
        mine = delivered.sender == self._me
        if delivered.view != self._view:
            if self._view >= 0:
                self._between_ms += max(0, wall_ms(delivered.stamp) - wall_ms(self.stamp))
            self._view = delivered.view
        self.stamp = max(self.stamp, delivered.stamp)
        self.sessions.advance(wall_ms(self.stamp))
        sender, audit = str(delivered.sender), self._audit
        due_ms = self.due_ms
        if due_ms is not None and due_ms <= wall_ms(self.stamp):
            self._tick()
        audit_due = audit.due  # of a struct: read again when it may be another
        for place, payload in enumerate(delivered.payloads, 1):
            self.position += 1
            self._token = max(self._token + 1, self.stamp)
            try:
                entry = _decode(payload)
            except UNREADABLE:
                actions.append(NotUnderstood(delivered.sender))
            else:
                if type(entry) is _RUN:
                    outcome = self._once(entry, sender)
                    if mine:
                        actions.append(Answered(entry.ticket, outcome))
                elif isinstance(entry, Open | Touch | Close):
                    result = manage(self.sessions, entry, self._token)
                    if mine:
                        actions.append(Answered(entry.ticket, result))
                else:
                    actions += self._heed(entry, delivered)
                    audit_due = audit.due
            if self.position >= audit_due and audit.begins(self.position):
                actions += self._report()
                audit_due = audit.due
            if self._pending is not None:
                rest = msgspec.structs.replace(delivered, payloads=delivered.payloads[place:])
                return [*actions, *self.deliver(rest)] if rest.payloads else actions
        return actions

    def _heed(self, entry: entries.OfHosts, delivered: Delivered) -> list[Action]:
        """What hosts say among themselves."""
        match entry:
            case Report() | entries.Hosts():
                found = self._audit.hear(delivered.sender.name, entry, delivered.view, self._audit_interval)
                if found is None:
                    return []
                self._diverged |= self._me.name in found.diverged
                return [Judged(found)]
            case Tick():
                return [Ticked()] if delivered.sender == self._me else []
            case Able(versions):
                return [CanRun(delivered.sender.name, versions)]
            case Upgrade(view, since, to):
                fits = view == delivered.view and since == self.kind.version < to
                return self._begin(entry) if fits and not self._audit.stopped else []
            case Converted():
                return []  # of an upgrade that has come to its end

    # --- another version of the class -----------------------------------------------------------------------------

    def _begin(self, upgrade: Upgrade) -> list[Action]:
        """An upgrade begins here.  A host of its view converts the state, and says what that comes to; who reads of it
        later converts when it is known that all did."""
        self._pending = Pending(upgrade, self.position)
        if self.installed != upgrade.view or self._me.name not in self.group.hosts:
            return []
        self._converted, said = convert(self.newest, self._object, upgrade, self.position)
        return [Say(entries.encode(said))]

    def _conclude(self, fault: str | None) -> list[Action]:
        """The upgrade under way comes to its end, and what was held is applied."""
        pending = self._pending
        assert pending is not None
        upgrade, replayed = pending.upgrade, pending.upgrade.view != self.installed
        if fault is AGREED:
            new = agreed_on(self.newest, self._object, pending, self._converted, self.hooks.costs)
            self.kind, self._object = self.newest.versions[upgrade.to], new
            self._undo = Undo(self.kind, new, self._saving_failed) if self.kind.undoes else None
        ended = Upgraded(upgrade.since, upgrade.to, replayed)
        actions: list[Action] = [ended if fault is AGREED else UpgradeVoid(upgrade.to, fault or "", replayed)]
        self._pending = self._converted = None
        for held in pending.held:
            actions += self.deliver(held)
        return actions

    def _once(self, entry: Run, sender: str) -> Outcome | Refusal:
        fields: tuple[int, int, int, int, str, int, bytes] = _fields_of(entry)
        _, session, number, low, operation, types, arguments = fields
        verdict = self.sessions.begin(session, number, low)
        if verdict is not FRESH:
            return refused(verdict, number) if isinstance(verdict, Verdict) else verdict
        if self._audit.stopped:
            return Refusal(Reason.DIVERGED, "the replicas have diverged and there is no majority: writes are stopped")
        found = find(self.kind, operation, types, _COMMAND)
        if type(found) is Refusal:  # rather than isinstance: their metaclass makes that slow
            return found
        outcome = self._run(found, arguments, self._context(sender))
        if type(outcome) is Refusal:
            return outcome
        # The text of an exception may hold an address or depend on Python's version: it is no part of what must agree.
        told = outcome.value if type(outcome) is Returned else outcome.type_name.encode()
        self._replies = _crc32(told, self._replies)
        self.sessions.record(session, number, outcome)
        return outcome

    def _context(self, sender: str) -> Context:
        return Context(self.stamp, sender, self.position, self._token, self._between_ms)

    def _run(self, operation: Operation, encoded: bytes, context: Context) -> Outcome | Refusal:
        """Run a command; if it raises, the state is as before."""
        arguments = decode(operation, encoded)
        if type(arguments) is Refusal:
            return arguments
        try:
            outcome: Outcome = operation.run(self._object, arguments, context)
        except MemoryError:
            raise  # it is this process that failed, not the command
        except UnencodableResult as unencodable:
            outcome = raised(unencodable)
        except (Exception, SystemExit) as error:  # sys.exit() would end every host, one after the other
            if self._undo is not None and not operation.atomic:
                self._object = self._undo.before(self.hooks.costs)
            return raised(error)
        if self._undo is not None:
            self._undo.succeeded(operation, encoded, context, self._object)
        return outcome

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def due_ms(self) -> int | None:
        """The ordered time from which on the object wants to be ticked, in milliseconds since the epoch; None: never."""
        return self.hooks.due_ms(self.kind, self._object)

    def _tick(self) -> None:
        assert self.kind.tick is not None
        self._token = max(self._token + 1, self.stamp)
        self._hook(self.kind.tick)

    def _hook(self, hook: TickHook) -> None:
        """Call it; if it raises, the state is as before, unless all commands are atomic."""
        context = self._context("")
        try:
            hook.run(self._object, (), context)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            if self._undo is not None:
                self._object = self._undo.before(self.hooks.costs)
            self.hooks.turn_failed(self.kind, hook, error, undone=self._undo is not None)
            return
        self.hooks.well(f"{hook.name}()")
        if self._undo is not None:
            self._undo.succeeded(hook, b"", context, self._object)

    # --- recoveries ------------------------------------------------------------------------------------------------

    def fence(self, at: Stamp) -> None:
        """Fencing tokens that come are above that."""
        self._token = max(self._token, at)

    def rescued(self, fence: Stamp) -> list[Action]:
        """What was applied so far is what one node's log held when an operator had the cluster go on with that.  Others
        may have acknowledged something else, so what is given out from here on (tokens, ids of sessions) is above all
        that they can have given out, and nobody goes on with a session of before."""
        actions = self.begun(-1)
        self.fence(fence)
        self._token += 1
        self.sessions.forget()
        if self.kind.recovered is not None:
            self._hook(self.kind.recovered)
        return actions

    # --- reads ----------------------------------------------------------------------------------------------------

    def query(self, operation_id: str, types: int, encoded: bytes) -> Outcome | Refusal:
        """Answer from the present state."""
        found = find_call(self.kind, operation_id, types, Kind.QUERY, encoded)
        if type(found) is Refusal:
            return found
        operation, arguments = found
        try:
            return operation.run(self._object, arguments, self._context(str(self._me)))
        except MemoryError:
            raise
        except OversizedResult as oversized:
            return Refusal(Reason.TOO_LARGE, str(oversized))
        except (Exception, SystemExit) as error:
            return raised(error)

    def feed(self, operation_id: str, types: int, encoded: bytes) -> tuple[Operation, tuple[Any, ...]] | Refusal:
        """What a watch is to be fed with: the operation and its arguments."""
        return find_call(self.kind, operation_id, types, Kind.FEED, encoded)

    # --- audits and snapshots -----------------------------------------------------------------------------------------

    def _report(self) -> list[Action]:
        """An audit begins here.  Learners' multicasts wait for their promotion, and one host has nobody to ask."""
        if self._me.name not in self.group.hosts or len(self.group.hosts) < 2:
            return []
        state = self.hooks.digest(self.kind, self._object)
        digest = digest_of(state.value, self._replies, self.kind.version)
        hosts = entries.Hosts(self.installed, self.group.hosts)
        return [Say(entries.encode(Report(self.position, digest, state.cost, hosts)))]

    def slices(self, size: int) -> Iterator[bytes | None]:
        """All that the next entries depend on, as it is when the first slice is taken, in slices of about `size` bytes
        or None: see `saving.slices`.  To be closed if the rest is not wanted.  Raises `HookError`."""
        counters = Counters(self.position, self.stamp, self._token, self._replies, self._view, self._between_ms)
        kept = self.sessions, counters, self._audit, self._pending, size
        try:
            yield from saving.slices(self.kind, self._object, *kept)
        except HookError as error:
            self._saving_failed(error)
            raise
        self.hooks.well(self.kind.state.saver)

    def _saving_failed(self, error: HookError) -> None:
        self.hooks.saving_failed(self.kind, error)

    def restoration(self) -> Restoration[T]:
        """What takes the slices of another replica, for `restore`.  Meanwhile this one goes on as it is."""
        return Restoration(self.newest, self._limits)

    def restore(self, restoration: Restoration[T]) -> None:
        """Become what was saved, when all slices are there.  Raises as `Restoration.finish`; the replica is unchanged
        then."""
        counters, self._audit, self._pending = restoration.finish()
        self.kind, self._converted = restoration.kind, None
        self.position, self.stamp, self._token, self._replies, self._view, self._between_ms = counters
        self._object, self.sessions = restoration.object, restoration.sessions
        self._undo = Undo(self.kind, self._object, self._saving_failed) if self.kind.undoes else None
        self._diverged = False
