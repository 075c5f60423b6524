"""The class under test, run alone: one instance, one call after the other, which is what its replicas must equal."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

from phalanx.model.replicated import Context
from phalanx.replication import canonical
from phalanx.replication.objects import ObjectType, Operation, TickHook, UnencodableResult
from phalanx.replication.outcome import Outcome, Raised, Returned, raised

TEXT_MAX = 240
"""Characters of a state or an answer in a report; longer ones lose their middle."""
CONTEXT = 60
"""Characters that are shown of what two long states have in common, before they differ."""
WHOLE_MAX = 1 << 16
"""Characters of a state that are kept until it is known where it differs from another."""

_encode = msgspec.msgpack.Encoder().encode


class Done(NamedTuple):
    """One operation that was run: what came of it, and the state that it left."""

    outcome: Outcome
    digest: bytes
    state: str
    """As `whole_text`."""


def clipped(text: str, longest: int = TEXT_MAX) -> str:
    """Short enough for a report."""
    half = (longest - 5) // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def contrasted(texts: Sequence[str]) -> list[str]:
    """States that should be equal, each short enough for a report, and with the first place at which they differ."""
    places = enumerate(zip_longest(*texts))
    place = next((place for place, characters in places if len(set(characters)) > 1), 0)
    if place < TEXT_MAX // 2 - CONTEXT or max(map(len, texts)) <= TEXT_MAX:
        return [clipped(text) for text in texts]
    return [f"{text[: text.find('(') + 1]} ... {clipped(text[place - CONTEXT :])}" for text in texts]


def state_text(instance: Any) -> str:
    """The state for a reader, short enough for a report."""
    return clipped(whole_text(instance))


def whole_text(instance: Any) -> str:
    """The state for a reader, as it is in memory (a set in the order of its iteration)."""
    names = [name for name in dir(type(instance)) if name in getattr(type(instance), "__annotations__", {})]
    values = {name: getattr(instance, name) for name in names} | getattr(instance, "__dict__", {})
    text = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return clipped(f"{type(instance).__name__}({text})", WHOLE_MAX)


def call_text(operation: Operation, arguments: bytes) -> str:
    """The call for a reader."""
    values = operation.decode(arguments)
    return clipped(f"{operation.function.__name__}({', '.join(map(repr, values))})")


def call_key(operation: Operation, arguments: bytes) -> bytes:
    """The call in a form that is the same for equal ones."""
    return _encode([operation.id, canonical.walked(operation.decode(arguments))])


def outcome_text(outcome: Outcome) -> str:
    """What came of a call, for a reader."""
    if isinstance(outcome, Raised):
        return f"raised {outcome.type_name}: {outcome.text}"
    return clipped(f"returned {msgspec.msgpack.decode(outcome.value)!r}")


def told(outcome: Outcome) -> bytes:
    """What must be equal at all replicas: a result to the last byte, of an exception the class (its text may hold an
    address, or depend on Python's version)."""
    return b"=" + outcome.value if isinstance(outcome, Returned) else b"!" + outcome.type_name.encode()


def meant(operation: Operation, outcome: Outcome) -> bytes:
    """What a caller was told, the same for equal answers: sets and dictionaries have no order here."""
    if isinstance(outcome, Raised):
        return told(outcome)
    return b"=" + _encode(canonical.walked(operation.result(outcome)))


class Alone:
    """One instance, which is run as a replica runs it: a command that raises has changed nothing."""

    def __init__(self, kind: ObjectType[Any]) -> None:
        self._kind = kind
        self.instance = kind.state.create()

    def run(self, operation: Operation | TickHook, arguments: bytes, context: Context) -> Outcome:
        """What came of it.  Raises nothing that the method raises."""
        before = self._kind.state.snapshot(self.instance)
        try:
            return operation.run(self.instance, operation.decode(arguments), context)
        except UnencodableResult as error:
            return raised(error)
        except (Exception, SystemExit) as error:
            if self._kind.undoes if isinstance(operation, TickHook) else not operation.atomic:
                self.instance = self._kind.state.restore(before)
            return raised(error)

    def done(self, operation: Operation | TickHook, arguments: bytes, context: Context) -> Done:
        """Run it, and look at the state."""
        outcome = self.run(operation, arguments, context)
        return Done(outcome, self._kind.state.digest(self.instance).value, whole_text(self.instance))
