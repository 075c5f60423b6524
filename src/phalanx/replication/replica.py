"""One node's copy of a replicated object: ordered deliveries in, answers and reports out.

A replica is a deterministic function of the entries it was given, in order (Schneider, "Implementing Fault-Tolerant
Services Using the State Machine Approach", 1990).  All of it is in its snapshot: the object's state, the sessions, the
audit, and the counters.  It differs from its peers only in which answers it hands out: those to entries that its own
node sent, since that is where the callers wait.

Rules for one entry, in this order: the position and the clock advance; idle sessions expire; the object is ticked, if it
is due; then the entry is applied.
A command is run only if its session is known, the table has no outcome for it, writes are not stopped, and its
operation, types and arguments are understood; each of these is judged alike by every replica.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from msgspec.structs import astuple

from phalanx.errors import ConfigurationError
from phalanx.model.clock import Stamp, wall_ms
from phalanx.model.events import Delivered
from phalanx.model.replicated import Context, Kind
from phalanx.model.view import Group, Member, Order, View
from phalanx.replication import entries, saving
from phalanx.replication.actions import (
    Action,
    Answered,
    Judged,
    NotUnderstood,
    Refusal,
    Say,
    SessionOpened,
    Ticked,
    Touched,
)
from phalanx.replication.audit import AUDIT_INTERVAL, Audit
from phalanx.replication.entries import UNREADABLE, Close, Open, Report, Run, Tick, Touch
from phalanx.replication.inflight import HookFailed
from phalanx.replication.messages import Reason
from phalanx.replication.objects import ObjectType, Operation, OversizedResult, TickHook, UnencodableResult
from phalanx.replication.outcome import Outcome, Returned, raised
from phalanx.replication.saving import Counters, Restoration
from phalanx.replication.session import LIMITS, Limits
from phalanx.replication.sessions import FRESH, Sessions, Verdict
from phalanx.replication.state import DIGEST_BYTES, Digest, HookError
from phalanx.replication.undo import Undo

T = TypeVar("T")

_REASONS = {Verdict.UNKNOWN: Reason.EXPIRED, Verdict.SETTLED: Reason.SETTLED, Verdict.WINDOW: Reason.WINDOW}


def _told_nobody(_: HookFailed) -> None:
    """Nobody looks after it."""


class Replica(Generic[T]):
    """See the module's text."""

    def __init__(
        self,
        kind: ObjectType[T],
        group: Group,
        me: Member,
        limits: Limits = LIMITS,
        audit_interval: int = AUDIT_INTERVAL,
    ) -> None:
        if group.spec.order is not Order.TOTAL:
            raise ConfigurationError(f"group {group.spec.name}: a replicated object needs total order")
        self.kind = kind
        self.group = group
        self._me = me
        self._limits = limits
        self._audit_interval = audit_interval
        self._object = kind.state.create()
        self.told: Callable[[HookFailed], None] = _told_nobody
        """Is told of hooks that raise."""
        self._failing: dict[str, str] = {}
        """Those that do, and what they raise."""
        self._undo = Undo(kind, self._object, self._saving_failed) if kind.undoes else None
        self._sessions = Sessions(limits)
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
        self.group = group
        return self._judge()

    def deliver(self, delivered: Delivered) -> list[Action]:
        """Apply a run of entries."""
        actions: list[Action] = []
        mine = delivered.sender == self._me
        if delivered.view != self._view:
            if self._view >= 0:
                self._between_ms += max(0, wall_ms(delivered.stamp) - wall_ms(self.stamp))
            self._view = delivered.view
        self.stamp = max(self.stamp, delivered.stamp)
        self._sessions.advance(wall_ms(self.stamp))
        sender = str(delivered.sender)
        audit = self._audit
        due_ms = self.due_ms
        if due_ms is not None and due_ms <= wall_ms(self.stamp):
            self._tick()
        for payload in delivered.payloads:
            self.position += 1
            self._token = max(self._token + 1, self.stamp)
            try:
                entry = entries.decode(payload)
            except UNREADABLE:
                actions.append(NotUnderstood(delivered.sender))
            else:
                if type(entry) is Run:
                    outcome = self._once(entry, sender)
                    if mine:
                        actions.append(Answered(entry.ticket, outcome))
                elif isinstance(entry, Report):
                    self._audit.report(delivered.sender.name, entry)
                    actions += self._judge()
                elif isinstance(entry, Tick):
                    actions += [Ticked()] if mine else []
                else:
                    result = self._manage(entry)
                    if mine:
                        actions.append(Answered(entry.ticket, result))
            if self.position >= audit.due and audit.begins(self.position):
                actions += self._report()
        return actions

    def _manage(self, entry: Open | Touch | Close) -> SessionOpened | Touched | Refusal:
        match entry:
            case Open():
                if self._sessions.open(self._token):
                    return SessionOpened(self._token)
                return Refusal(Reason.SESSIONS, f"the group has {len(self._sessions)} sessions, which is its limit")
            case Touch(_, session, low):
                known = self._sessions.touch(session, low)
            case Close(_, session):
                known = self._sessions.close(session)
        return Touched() if known else Refusal(Reason.EXPIRED, "the group does not know the session")

    def _once(self, entry: Run, sender: str) -> Outcome | Refusal:
        # All at once, since each field of a struct costs compiled code a search.
        fields: tuple[int, int, int, int, str, int, bytes] = astuple(entry)
        _, session, number, low, operation, types, arguments = fields
        verdict = self._sessions.begin(session, number, low)
        if verdict is not FRESH:
            if isinstance(verdict, Verdict):
                return Refusal(_REASONS[verdict], f"command {number}: {verdict.value}")
            return verdict
        if self._audit.stopped:
            return Refusal(Reason.DIVERGED, "the replicas have diverged and there is no majority: writes are stopped")
        found = self._find(operation, types, Kind.COMMAND)
        if type(found) is Refusal:  # rather than isinstance: their metaclass makes that slow
            return found
        outcome = self._run(found, arguments, self._context(sender))
        if type(outcome) is Refusal:
            return outcome
        # The text of an exception may hold an address or depend on Python's version: it is no part of what must agree.
        told = outcome.value if type(outcome) is Returned else outcome.type_name.encode()
        self._replies = zlib.crc32(told, self._replies)
        self._sessions.record(session, number, outcome)
        return outcome

    def _context(self, sender: str) -> Context:
        return Context(self.stamp, sender, self.position, self._token, self._between_ms)

    def _find(self, operation_id: str, types: int, kind: Kind) -> Operation | Refusal:
        operation = self.kind.operations.get(operation_id)
        if operation is None or operation.kind is not kind:
            return Refusal(Reason.OPERATION, f"{self.kind.name} has no {kind} {operation_id}")
        if operation.types != types:
            return Refusal(Reason.OPERATION, f"{operation.where}: the caller knows other types under {operation_id}")
        return operation

    def _run(self, operation: Operation, encoded: bytes, context: Context) -> Outcome | Refusal:
        """Run a command; if it raises, the state is as before."""
        try:
            arguments = operation.decode(encoded)
        except UNREADABLE as error:
            return Refusal(Reason.ARGUMENTS, operation.fault(error))
        try:
            outcome: Outcome = operation.run(self._object, arguments, context)
        except MemoryError:
            raise  # it is this process that failed, not the command
        except UnencodableResult as error:
            outcome = raised(error)
        except (Exception, SystemExit) as error:  # sys.exit() would end every host, one after the other
            if self._undo is not None and not operation.atomic:
                self._object = self._undo.before()
            return raised(error)
        if self._undo is not None:
            self._undo.succeeded(operation, encoded, context, self._object)
        return outcome

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def due_ms(self) -> int | None:
        """The ordered time from which on the object wants to be ticked, in milliseconds since the epoch; None: never."""
        if self.kind.tick is None:
            return None
        try:
            due: int | None = self._object.due_ms()  # type: ignore[attr-defined]  # it has both hooks
            if due is not None and not isinstance(due, int):
                raise TypeError(f"it must return an int or None, not {type(due).__name__}")
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            self._failed("due_ms()", error, "time does not pass for it")
            return None
        if self._failing:
            self._failing.pop("due_ms()", None)
        return due

    def _tick(self) -> None:
        assert self.kind.tick is not None
        self._token = max(self._token + 1, self.stamp)
        self._hook(self.kind.tick)

    def _hook(self, hook: TickHook) -> None:
        """Call it; if it raises, the state is as before."""
        context = self._context("")
        try:
            hook.run(self._object, (), context)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            if self._undo is not None:
                self._object = self._undo.before()
            self._failed(f"{hook.name}()", error, "it was undone")
            return
        self._failing.pop(f"{hook.name}()", None)
        if self._undo is not None:
            self._undo.succeeded(hook, b"", context, self._object)

    # --- recoveries ------------------------------------------------------------------------------------------------

    def fence(self, at: Stamp) -> None:
        """Fencing tokens that come are above that."""
        self._token = max(self._token, at)

    def rescued(self, fence: Stamp) -> None:
        """What was applied so far is what one node's log held when an operator had the cluster go on with that.  Others
        may have acknowledged something else, so what is given out from here on (tokens, ids of sessions) is above all
        that they can have given out, and nobody goes on with a session of before."""
        self.fence(fence)
        self._token += 1
        self._sessions.forget()
        if self.kind.recovered is not None:
            self._hook(self.kind.recovered)

    # --- reads ----------------------------------------------------------------------------------------------------

    def query(self, operation_id: str, types: int, encoded: bytes) -> Outcome | Refusal:
        """Answer from the present state."""
        found = self._find(operation_id, types, Kind.QUERY)
        if isinstance(found, Refusal):
            return found
        try:
            arguments = found.decode(encoded)
        except UNREADABLE as error:
            return Refusal(Reason.ARGUMENTS, found.fault(error))
        try:
            return found.run(self._object, arguments, self._context(str(self._me)))
        except MemoryError:
            raise
        except OversizedResult as error:
            return Refusal(Reason.TOO_LARGE, str(error))
        except (Exception, SystemExit) as error:
            return raised(error)

    def feed(self, operation_id: str, types: int, encoded: bytes) -> tuple[Operation, tuple[Any, ...]] | Refusal:
        """What a watch is to be fed with: the operation and its arguments."""
        found = self._find(operation_id, types, Kind.FEED)
        if isinstance(found, Refusal):
            return found
        try:
            return found, found.decode(encoded)
        except UNREADABLE as error:
            return Refusal(Reason.ARGUMENTS, found.fault(error))

    # --- audits ---------------------------------------------------------------------------------------------------

    def _report(self) -> list[Action]:
        """An audit begins here.  Learners' multicasts wait for their promotion, and one host has nobody to ask."""
        if self._me.name not in self.group.hosts or len(self.group.hosts) < 2:
            return []
        try:
            state = self.kind.state.digest(self._object)
        except HookError as error:
            self._failed(error.hook, error.error, "audits do not compare its state")
            state = Digest(type(error.error).__name__.encode(), 0)  # who has none where others do has diverged
        else:
            self._failing.pop(self.kind.state.digester, None)
        parts = state.value + self._replies.to_bytes(4, "big")
        digest = hashlib.blake2b(parts, digest_size=DIGEST_BYTES).digest()
        return [Say(entries.encode(Report(self.position, digest, state.cost)))]

    def _judge(self) -> list[Action]:
        finding = self._audit.judge(self.group.hosts, self._audit_interval)
        if finding is None:
            return []
        self._diverged |= self._me.name in finding.diverged
        return [Judged(finding)]

    # --- snapshots ------------------------------------------------------------------------------------------------

    def slices(self, size: int) -> Iterator[bytes]:
        """All that the next entries depend on, as it is when the first slice is taken, in slices of about `size` bytes
        (see `saving`).  To be closed if the rest is not wanted.  Raises `HookError`."""
        counters = Counters(self.position, self.stamp, self._token, self._replies, self._view, self._between_ms)
        try:
            yield from saving.slices(self.kind, self._object, self._sessions, counters, self._audit, size)
        except HookError as error:
            self._saving_failed(error)
            raise
        self._failing.pop(self.kind.state.saver, None)

    def _saving_failed(self, error: HookError) -> None:
        self._failed(error.hook, error.error, "its state cannot be saved: nobody can learn it, and no log is shortened")

    def _failed(self, hook: str, error: BaseException, effect: str) -> None:
        text = f"{type(error).__name__}: {error}"
        if self._failing.get(hook) != text:
            self._failing[hook] = text
            self.told(HookFailed(self.group.spec.name, f"{self.kind.name}, {hook}", text, effect))

    def restoration(self) -> Restoration[T]:
        """What takes the slices of another replica, for `restore`.  Meanwhile this one goes on as it is."""
        return Restoration(self.kind, self._limits)

    def restore(self, restoration: Restoration[T]) -> None:
        """Become what was saved, when all slices are there.  Raises as `Restoration.finish`; the replica is unchanged
        then."""
        counters, self._audit = restoration.finish()
        self.position, self.stamp, self._token, self._replies, self._view, self._between_ms = counters
        self._object, self._sessions = restoration.object, restoration.sessions
        self._undo = Undo(self.kind, self._object, self._saving_failed) if self.kind.undoes else None
        self._diverged = False
