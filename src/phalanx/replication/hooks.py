"""The hooks of a replicated object's class, and what becomes of one that raises: what needs it is left out, and whoever
looks after the node is told, once of each text."""

from collections.abc import Callable
from typing import Any

from phalanx.replication.inflight import HookFailed
from phalanx.replication.objects import ObjectType, TickHook
from phalanx.replication.outcome import text_of
from phalanx.replication.positions import position_of
from phalanx.replication.state import Digest, HookError


def _told_nobody(_: HookFailed) -> None:
    """Nobody looks after it."""


def _of_no_account(_: int) -> None:
    """Nobody shares out turns."""


class Hooks:
    """Of the object in the group of that name; its class may become another version."""

    def __init__(self, group: str) -> None:
        self.told: Callable[[HookFailed], None] = _told_nobody
        self.costs: Callable[[int], None] = _of_no_account
        """Is told what costs more than the size of its entry says, as so many bytes of entries: see `Undo.before`."""
        self._group = group
        self._failing: dict[str, str] = {}
        """Those that raise, and what."""

    def due_ms(self, kind: ObjectType[Any], instance: Any) -> int | None:
        """When the object wants to be ticked; None: never, or it does not say."""
        if kind.tick is None:
            return None
        try:
            due: int | None = instance.due_ms()
            if due is not None and not isinstance(due, int):
                raise TypeError(f"it must return an int or None, not {type(due).__name__}")
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            self.failed(kind, "due_ms()", error, "time does not pass for it")
            return None
        if self._failing:
            self._failing.pop("due_ms()", None)
        return due

    def position(self, kind: ObjectType[Any], instance: Any) -> int | BaseException:
        """Of the last change that can be watched; or what the hook raised."""
        try:
            position = position_of(instance.position())
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            self.failed(kind, "position()", error, "nobody can watch it")
            return error
        if self._failing:
            self._failing.pop("position()", None)
        return position

    def digest(self, kind: ObjectType[Any], instance: Any) -> Digest:
        """Of the state; if there is none, of why, so who has none where others do has diverged."""
        try:
            digest = kind.state.digest(instance)
        except HookError as error:
            self.failed(kind, error.hook, error.error, "audits do not compare its state")
            return Digest(type(error.error).__name__.encode(), 0)
        self.well(kind.state.digester)
        return digest

    def saving_failed(self, kind: ObjectType[Any], error: HookError) -> None:
        """What would save the state raised."""
        effect = "its state cannot be saved: nobody can learn it, and no log is shortened"
        self.failed(kind, error.hook, error.error, effect)

    def failed(self, kind: ObjectType[Any], hook: str, error: BaseException, effect: str) -> None:
        """That hook raised, so something is not done."""
        text = f"{type(error).__name__}: {text_of(error)}"
        if self._failing.get(hook) != text:
            self._failing[hook] = text
            self.told(HookFailed(self._group, f"{kind.name}, {hook}", text, effect))

    def turn_failed(self, kind: ObjectType[Any], hook: TickHook, error: BaseException, *, undone: bool) -> None:
        """The object had its turn, and raised."""
        stands = "what it had changed stands: no copy is kept of the state where all commands are atomic"
        self.failed(kind, f"{hook.name}()", error, "it was undone" if undone else stands)

    def well(self, hook: str) -> None:
        """It has not raised."""
        self._failing.pop(hook, None)
