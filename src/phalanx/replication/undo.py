"""Undo for commands that raise (SCENARIOS 36), at a cost that does not grow with the state on success.

A command may change half of what it meant to and then raise.  For a class all of whose commands promise to be `atomic`
nothing needs to be done.  For any other, `Undo` keeps a *checkpoint* (the encoded state) and the journal of the
commands that succeeded since; the state before the failed command is the checkpoint with the journal run again.  A
success costs appending its arguments; a new checkpoint is due once the journal has cost about as much as one, so it is
paid off in advance; a failure costs one decoding of the state and the journal's commands, and an encoding once these have
been run again so often that it would have cost less.

Running commands again is right because they are deterministic; those that are not are what audits find, or what raises
when it is run again, and then the replica is given up (`CannotUndo`): it is no reason to stop the node.  Where a state
cannot be saved any more, the last checkpoint stands, and the journal grows until it can.  Arguments are kept encoded,
since a command may put the decoded ones into the state.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from phalanx.model.replicated import Context
from phalanx.replication.actions import CannotGoOn
from phalanx.replication.objects import ObjectType, Operation, TickHook, UnencodableResult
from phalanx.replication.outcome import text_of
from phalanx.replication.state import HookError

T = TypeVar("T")

JOURNAL_COMMANDS = 1_024
"""Commands after which a checkpoint is due, for a state below `JOURNAL_BYTES`."""

STATE_PER_ENTRY = 8
"""Decoding and encoding so many bytes of a state takes as long as applying one byte of an ordinary entry."""

COMMAND_BYTES = 64
"""Running a command again costs at least as much as applying so many bytes of entries."""

JOURNAL_BYTES = 1 << 20
"""Encoded arguments after which a checkpoint is due, for a state that is smaller; else the state's size."""


class CannotUndo(CannotGoOn):
    """The state before a command that raised is not to be had again.  where: the hook, or the command of before, that
    raised `error` where it should not; the text says what that means."""

    def __init__(self, where: str, error: BaseException, why: str) -> None:
        super().__init__(f"{why}, so what raised cannot be undone: this node does not serve the object any more")
        self.where = where
        self.error = f"{type(error).__name__}: {text_of(error)}"


class Undo(Generic[T]):
    """A checkpoint and what happened since."""

    def __init__(self, kind: ObjectType[T], instance: T, failed: Callable[[HookError], None]) -> None:
        """`failed`: is told if no checkpoint can be made.  Raises `HookError` if that is so now."""
        self._kind = kind
        self._failed = failed
        self._patience = 1
        """How much longer than usual it is until the next checkpoint, since the last one failed."""
        self._journal: list[tuple[Operation | TickHook, bytes, Context]] = []
        self._bytes = 0
        self._rerun = 0
        """What running the journal again has cost since the checkpoint, as bytes of entries."""
        self._checkpoint = kind.state.snapshot(instance)

    def succeeded(self, operation: Operation | TickHook, arguments: bytes, context: Context, instance: T) -> None:
        """The command was run and left `instance` as it is."""
        self._journal.append((operation, arguments, context))
        self._bytes += len(arguments)
        scale = max(1, len(self._checkpoint) // JOURNAL_BYTES) * self._patience
        if len(self._journal) >= JOURNAL_COMMANDS * scale or self._bytes >= JOURNAL_BYTES * scale:
            self._take(instance)

    def before(self, costs: Callable[[int], None]) -> T:
        """A new instance with the state before the command that just raised.  `costs`: is told what that costs, as so
        many bytes of entries that are applied.  Raises `CannotUndo`."""
        saving = len(self._checkpoint) // STATE_PER_ENTRY
        costs(saving + self._bytes)
        try:
            instance = self._kind.state.restore(self._checkpoint)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            raise CannotUndo(f"{self._kind.name}, restore", error, "its state cannot be restored") from error
        for operation, arguments, context in self._journal:
            try:
                operation.run(instance, operation.decode(arguments), context)
            except UnencodableResult:
                pass  # it did return, then as now
            except MemoryError:
                raise
            except (Exception, SystemExit) as error:
                raise CannotUndo(operation.where, error, "it had not when it was run first") from error
        self._rerun += self._bytes + COMMAND_BYTES * len(self._journal)
        if self._rerun > saving * self._patience:
            self._take(instance)
        return instance

    def _take(self, instance: T) -> None:
        try:
            self._checkpoint = self._kind.state.snapshot(instance)
        except HookError as error:  # the last one and the journal are as good, only longer
            self._patience *= 2
            self._failed(error)
            return
        self._patience = 1
        self._journal.clear()
        self._bytes = self._rerun = 0
