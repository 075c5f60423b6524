"""From one version of a replicated object's class to the next: what becomes of its state (`model.replicated.version`).

The hook works on a copy, so the former state is as it was if anything is wrong with the new one; and what comes of it has
been saved and restored, so a replica that converted goes on with what one that is sent the state is given.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, get_type_hints

from phalanx.errors import ConfigurationError, Diverged
from phalanx.replication.state import StateCodec

HOOK = "upgrade"

Watcher: TypeAlias = "Callable[[Conversion, Any], Any]"
"""Is given what `perform` is, and returns what it does."""


class Conversion:
    """How a state of the class that was replaced becomes one of the class that replaces it.  Raises
    `ConfigurationError` if that is not said, or makes no sense."""

    def __init__(self, cls: type[Any], state: StateCodec[Any], replaced: type[Any], former: StateCodec[Any]) -> None:
        self.where = f"{cls.__name__}.{HOOK}"
        self._state = state
        self._former = former
        self._hook: Callable[[Any, Any], None] | None = vars(cls).get(HOOK)  # an inherited one is of another pair
        self.watcher: Watcher | None = None
        """Runs it instead, by `perform`, and looks on; for tests of users' classes."""
        if self._hook is not None:
            self._check(self._hook, replaced)
        elif (fault := state.fault_in_taking(former)) is not None:
            told = f"{fault}: say by {HOOK}(self, former: {replaced.__name__}) what becomes of it"
            raise ConfigurationError(f"{cls.__name__} cannot take over the state of {replaced.__name__}, for {told}")

    def _check(self, hook: Callable[[Any, Any], None], replaced: type[Any]) -> None:
        try:
            hints = get_type_hints(hook)
        except (NameError, TypeError) as error:
            raise ConfigurationError(f"{self.where}: an annotation cannot be resolved: {error}") from error
        if [kind for name, kind in hints.items() if name != "return"] != [replaced]:
            wanted = f"{HOOK}(self, former: {replaced.__name__}) -> None"
            raise ConfigurationError(f"{self.where} must be a plain method {wanted}")

    def convert(self, instance: Any) -> Any:
        """A new instance of the new class; the former one is as it was.  Raises whatever the hook raises, what encoding
        raises, and `Diverged` if the new state does not survive being saved and restored."""
        copy = self._former.restore(self._former.snapshot(instance))
        new = self.watcher(self, copy) if self.watcher is not None else self.perform(copy)
        kept = self._state.restore(self._state.snapshot(new))
        if self._state.digest(kept).value != self._state.digest(new).value:
            raise Diverged(f"{self.where}: the new state changes when it is saved and restored")
        return kept

    def perform(self, former: Any) -> Any:
        """What the hook makes of it, as it is."""
        if self._hook is None:
            return self._state.take_over(self._former, former)
        new = self._state.create()
        self._hook(new, former)
        return new
