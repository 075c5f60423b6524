"""Sequential specifications: what each operation may do if operations happened one at a time.

Source of the set: Knossos (register, cas-register, mutex, multi-register) and the key-value models of Porcupine and of
the Raft labs (put, append, get); `KvCas` is the specification of Phalanx's own store.

Recorders differ in two points, which the models of values take as options:

- `null_read`: a read that returned null either saw that there is no value ("absent"), or the recorder did not keep what
  it saw ("unknown": the read then demands nothing).
- `failed_cas`: a compare-and-set with outcome `fail` either did not happen, for whatever reason ("nothing"), or was
  carried out and found another value than the expected one ("observed").
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from phalanx.check.actions import Append, Cas, Differs, Read, Transaction, Write
from phalanx.check.outlook import CellOutlook, Outlook, TextOutlook, Timed, TransactionOutlook
from phalanx.check.values import NULL, freeze, show, thaw
from phalanx.model.history import Operation, Outcome

A = TypeVar("A", bound=Hashable)

State = Hashable
CellAction = Write | Read | Cas | Differs
TextAction = Write | Read | Append


class NullRead(StrEnum):
    """What a read of null means."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


class FailedCas(StrEnum):
    """What a compare-and-set that failed means."""

    NOTHING = "nothing"
    OBSERVED = "observed"


class MalformedOperation(ValueError):
    """The model does not know the operation, or its value has not the form that the model needs."""


class Model(ABC, Generic[A]):
    """A sequential specification.  Models are immutable; states are hashable values, and never None.

    Subclasses need `action`, `initial` and `step`; the rest has defaults that are right for any model and make the
    search slower or the explanations longer.
    """

    name: ClassVar[str]

    def keys(self, operation: Operation) -> Iterable[Hashable]:
        """What the operation touches.  Operations that share no key, directly or through others, are judged apart:
        linearizability is a local property (Herlihy and Wing 1990, theorem 1)."""
        return (freeze(operation.key),)

    @abstractmethod
    def action(self, operation: Operation) -> A | None:
        """What the operation demands and does, given how it ended; None if that is nothing at all.

        Raises MalformedOperation."""

    @abstractmethod
    def initial(self, keys: frozenset[Hashable]) -> State:
        """The state of those keys before the first operation."""

    @abstractmethod
    def step(self, state: State, action: A) -> State | None:
        """The state after the action, or None if it cannot take place in this state."""

    def reads_only(self, action: A) -> bool:
        """Whether the action leaves every state in which it can take place as it is."""
        del action
        return False

    def pinned(self, action: A, keys: frozenset[Hashable]) -> State | None:
        """The state of those keys right after the action, if the action alone tells it."""
        del action, keys
        return None

    def outlook(self, steps: Sequence[Timed[A]], initial: State) -> Outlook[A]:
        """Foresight for the search of a part that consists of these actions and begins in that state."""
        del steps, initial
        return Outlook()


def _unknown(operation: Operation, model: str) -> MalformedOperation:
    return MalformedOperation(f"the {model} model has no operation {show(operation.f)}")


def _pair(operation: Operation) -> tuple[Hashable, Hashable]:
    match operation.argument:
        case [old, new]:
            return freeze(old), freeze(new)
    raise MalformedOperation(f"the value of a cas must be [expected, new], not {show(operation.argument)}")


class _Cell(Model[CellAction]):
    """One value for each key: what registers, the mutex and our own store have in common."""

    def __init__(
        self, initial: Any = None, null_read: NullRead | str = "absent", failed_cas: FailedCas | str = "nothing"
    ) -> None:
        self._initial = freeze(initial)
        self._null_read = NullRead(null_read)
        self._failed_cas = FailedCas(failed_cas)

    def initial(self, keys: frozenset[Hashable]) -> State:
        del keys
        return self._initial

    def step(self, state: State, action: CellAction) -> State | None:
        match action:
            case Write(value):
                return value
            case Read(value):
                return state if state == value else None
            case Cas(old, new):
                return new if state == old else None
            case Differs(value):
                return state if state != value else None

    def reads_only(self, action: CellAction) -> bool:
        return isinstance(action, Read | Differs)

    def pinned(self, action: CellAction, keys: frozenset[Hashable]) -> State | None:
        del keys
        match action:
            case Write(value) | Read(value) | Cas(_, value):
                return value
            case Differs():
                return None

    def outlook(self, steps: Sequence[Timed[CellAction]], initial: State) -> Outlook[CellAction]:
        del initial
        return CellOutlook(steps)

    def _read(self, operation: Operation) -> Read | None:
        unknown = operation.result is None and self._null_read is NullRead.UNKNOWN
        return Read(freeze(operation.result)) if operation.outcome is Outcome.OK and not unknown else None

    def _write(self, operation: Operation, value: Any) -> Write | None:
        return Write(freeze(value)) if operation.outcome is not Outcome.FAIL else None

    def _cas(self, operation: Operation) -> Cas | Differs | Read | None:
        old, new = _pair(operation)
        if operation.outcome is Outcome.FAIL:
            return Differs(old) if self._failed_cas is FailedCas.OBSERVED else None
        if old == new:  # changes nothing, so all that is left of it is what it saw
            return Read(old) if operation.outcome is Outcome.OK else None
        return Cas(old, new)


class Register(_Cell):
    """read, write.  `initial` is the value of every register before the first write."""

    name = "register"

    def __init__(self, initial: Any = None, null_read: NullRead | str = "absent") -> None:
        super().__init__(initial, null_read)

    def action(self, operation: Operation) -> CellAction | None:
        match operation.f:
            case "read":
                return self._read(operation)
            case "write":
                return self._write(operation, operation.argument)
        raise _unknown(operation, self.name)


class CasRegister(_Cell):
    """read, write, and cas with the value [expected, new]."""

    name = "cas-register"

    def action(self, operation: Operation) -> CellAction | None:
        match operation.f:
            case "read":
                return self._read(operation)
            case "write":
                return self._write(operation, operation.argument)
            case "cas":
                return self._cas(operation)
        raise _unknown(operation, self.name)


class KvCas(_Cell):
    """get, put, delete, and cas with the value [expected, new]: the specification of our own store, by key.

    A missing key is null, for `get`, for `cas` and as the initial value.  A `cas` that was answered (outcome `ok`) with
    False found another value than the expected one."""

    name = "kv-cas"

    def action(self, operation: Operation) -> CellAction | None:
        match operation.f:
            case "get":
                return self._read(operation)
            case "put":
                return self._write(operation, operation.argument)
            case "delete":
                return self._write(operation, None)
            case "cas":
                refused = operation.outcome is Outcome.OK and operation.result is False
                return Differs(_pair(operation)[0]) if refused else self._cas(operation)
        raise _unknown(operation, self.name)


class Mutex(_Cell):
    """acquire, release: a lock that is free or held.

    As in Knossos, the lock does not know its holder: any process may release a lock that is held, since a process that
    lost its session goes on under another number.  Acquiring a held lock, by whomever, and releasing a free one cannot
    take place.  `initial` True means that somebody holds the lock at first."""

    name = "mutex"

    def __init__(self, initial: Any = None) -> None:
        if initial is not None and not isinstance(initial, bool):
            raise ValueError(f"a mutex is held at first (true) or free (false), not {show(initial)}")
        super().__init__(bool(initial))

    def action(self, operation: Operation) -> CellAction | None:
        if operation.f not in ("acquire", "release"):
            raise _unknown(operation, self.name)
        acquires = operation.f == "acquire"
        return Cas(freeze(not acquires), freeze(acquires)) if operation.outcome is not Outcome.FAIL else None


class Kv(Model[TextAction]):
    """put, append, get: a map of texts.

    A missing key reads as the empty text, and so does null.  The store holds text, so a value that is no string stands
    for its JSON text: after put 1 and append 2, get may return "12" or 12."""

    name = "kv"

    def __init__(self, initial: Any = None, null_read: NullRead | str = "absent") -> None:
        self._initial = self._text(initial)
        self._null_read = NullRead(null_read)

    @staticmethod
    def _text(value: Any) -> str:
        if value is None:
            return ""
        return value if isinstance(value, str) else show(value)

    def action(self, operation: Operation) -> TextAction | None:
        ok, fail = operation.outcome is Outcome.OK, operation.outcome is Outcome.FAIL
        match operation.f:
            case "get":
                unknown = operation.result is None and self._null_read is NullRead.UNKNOWN
                return Read(self._text(operation.result)) if ok and not unknown else None
            case "put":
                return None if fail else Write(self._text(operation.argument))
            case "append":
                text = self._text(operation.argument)
                return None if fail or not text else Append(text)
        raise _unknown(operation, self.name)

    def initial(self, keys: frozenset[Hashable]) -> State:
        del keys
        return self._initial

    def step(self, state: State, action: TextAction) -> State | None:
        match action:
            case Write(value):
                return value
            case Read(value):
                return state if state == value else None
            case Append(text):
                return state + text if isinstance(state, str) else state  # what nobody sees stays unseen

    def reads_only(self, action: TextAction) -> bool:
        return isinstance(action, Read)

    def pinned(self, action: TextAction, keys: frozenset[Hashable]) -> State | None:
        del keys
        return action.value if isinstance(action, Write | Read) else None

    def outlook(self, steps: Sequence[Timed[TextAction]], initial: State) -> Outlook[TextAction]:
        return TextOutlook(steps, initial)


class MultiRegister(Model[Transaction]):
    """Atomic transactions over registers: the value is a list of micro-operations [f, key, value], where f is "r" or
    "read", "w" or "write"; they happen in the order of the list.  The operation's own f is free ("txn" as a rule).

    The field `key`, where there is one, names an independent set of registers.  `initial` is the value of every
    register, or an object that gives it for each key (a key that is no string goes by its JSON text)."""

    name = "multi-register"

    def __init__(self, initial: Any = None, null_read: NullRead | str = "absent") -> None:
        self._initial = initial
        self._null_read = NullRead(null_read)

    def keys(self, operation: Operation) -> Iterable[Hashable]:
        area = freeze(operation.key)
        return [(area, freeze(key)) for _, key, _ in _micro_operations(operation.argument)]

    def action(self, operation: Operation) -> Transaction | None:
        if operation.outcome is Outcome.FAIL:
            return None
        area = freeze(operation.key)
        answered = operation.outcome is Outcome.OK and operation.result is not None
        reads: set[tuple[Hashable, Hashable]] = set()
        own: dict[Hashable, Hashable] = {}
        for writes, name, value in _transaction(operation) if answered else _micro_operations(operation.argument):
            key = (area, freeze(name))
            if writes:
                own[key] = freeze(value)
            elif not answered or (value is None and self._null_read is NullRead.UNKNOWN):
                continue
            elif own.get(key, freeze(value)) != freeze(value):
                reads |= {(key, own[key]), (key, freeze(value))}  # it did not see its own write: a contradiction
            elif key not in own:
                reads.add((key, freeze(value)))
        return Transaction(frozenset(reads), frozenset(own.items())) if reads or own else None

    def initial(self, keys: frozenset[Hashable]) -> State:
        return frozenset((key, self._initial_of(key)) for key in keys)

    def _initial_of(self, key: Hashable) -> Hashable:
        assert isinstance(key, tuple)
        if not isinstance(self._initial, dict):
            return freeze(self._initial)
        name = thaw(key[1])
        return freeze(self._initial.get(name if isinstance(name, str) else show(name)))

    def step(self, state: State, action: Transaction) -> State | None:
        assert isinstance(state, frozenset)
        if not action.reads <= state:
            return None
        if not action.writes:
            return state
        written = {key for key, _ in action.writes}
        return frozenset(pair for pair in state if pair[0] not in written) | action.writes

    def reads_only(self, action: Transaction) -> bool:
        return not action.writes

    def pinned(self, action: Transaction, keys: frozenset[Hashable]) -> State | None:
        pairs = dict(action.reads) | dict(action.writes)
        return frozenset(pairs.items()) if keys == pairs.keys() else None

    def outlook(self, steps: Sequence[Timed[Transaction]], initial: State) -> Outlook[Transaction]:
        del initial
        return TransactionOutlook(steps)


def _micro_operations(value: Any) -> list[tuple[bool, Any, Any]]:
    """(whether it writes, key, value) of each.  Raises MalformedOperation."""
    if not isinstance(value, list | tuple):
        raise MalformedOperation(f"the value of a transaction must be a list of [f, key, value], not {show(value)}")
    result = []
    for micro in value:
        match micro:
            case ["r" | "read" | ":r" | ":read", key, *rest] if len(rest) <= 1:
                result.append((False, key, rest[0] if rest else None))
            case ["w" | "write" | ":w" | ":write", key, written]:
                result.append((True, key, written))
            case _:
                raise MalformedOperation(f"a micro-operation must be [r or w, key, value], not {show(micro)}")
    return result


def _transaction(operation: Operation) -> list[tuple[bool, Any, Any]]:
    """The micro-operations as they were answered.  Raises MalformedOperation if others were asked for."""
    asked, answered = _micro_operations(operation.argument), _micro_operations(operation.result)
    for (wrote, key, value), (writes, same_key, same_value) in zip(asked, answered, strict=False):
        same = wrote == writes and freeze(key) == freeze(same_key)
        if not same or (writes and freeze(value) != freeze(same_value)):
            break
    else:
        if len(asked) == len(answered):
            return answered
    raise MalformedOperation(f"the transaction {show(operation.argument)} was completed as {show(operation.result)}")


__all__ = ["NULL", "CasRegister", "FailedCas", "Kv", "KvCas", "MalformedOperation", "Model", "MultiRegister", "Mutex"]
__all__ += ["NullRead", "Register", "State"]
