"""Two machines where there was one, and the question whether two machines are the same.

Exploring needs to take a machine down two different paths.  `fork` copies the object graph of a machine: what can never
change is shared, everything else is copied, functions with what they have captured.  `encode` writes the same graph as
a value, equal for machines that behave alike.

Both know every kind of object they may meet and refuse any other: a part shared or overlooked by mistake would make an
exploration meaningless.  What `encode` leaves out or evens out, and why that loses nothing:

- `Core.now`, `Core.out`: set anew at the beginning of every step.  The explorer keeps a node's time beside its machine.
- `Core.row_number`, `Multicasting._sent_at`: numbers of rows are read by barriers, by leases and by groups whose hosts
  are no quorum of the view, and explored scenarios have none of these (`members` asserts it).
- `Core.busy`, `Core.stirred`, `GroupMachine._rest_until`, `_rest_deadline`: where rules are skipped that would do nothing
  (tests/group/test_rest.py holds that they would).
- the caches of `Core`, `Roster` and `Detector.version`, by which they are kept up to date.
- the recent gap of a silence, where it is too short to matter: twice the gap counts, and only beyond the limit.
- the order in which dicts and sets were filled: no rule depends on it.  A test holds results with and without.
- identity: two equal values, one of them shared, are alike, since shared lists are shared in every run of the code.
"""

import hashlib
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

import msgspec

from phalanx.group.core import Core
from phalanx.group.detector import Detector
from phalanx.group.machine import GroupMachine
from phalanx.group.multicast import Multicasting
from phalanx.parts.roster import Roster
from phalanx.parts.silence import Silence

T = TypeVar("T")

_ATOMS = frozenset({int, str, bytes, bool, float, type(None), type})
_LEFT_OUT: dict[type, frozenset[str]] = {
    Core: frozenset({"now", "out", "row_number", "busy", "stirred", "_claims", "_hear_said"}),
    Detector: frozenset({"version"}),
    GroupMachine: frozenset({"_rest_until", "_rest_deadline"}),
    Roster: frozenset({"_masks", "_names"}),
    Multicasting: frozenset({"_sent_at"}),
    Silence: frozenset({"_gap"}),
}
_Hash = type(hashlib.blake2b())
_pack = msgspec.msgpack.Encoder().encode


class Steady(random.Random):
    """Chance that always falls the same way.  Chance only spreads timers, and here time passes when the explorer says."""

    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int, /) -> int:  # noqa: ARG002  the signature of the base class
        return 0


_SHARED: dict[type[Any], bool] = {}


def _is_shared(kind: type[Any]) -> bool:
    """Values of that type cannot change."""
    known = _SHARED.get(kind)
    if known is None:
        frozen = issubclass(kind, msgspec.Struct) and kind.__struct_config__.frozen
        known = _SHARED[kind] = frozen or kind in _ATOMS or issubclass(kind, frozenset | Enum | Steady | type)
    return known


def _slots(kind: type[Any]) -> tuple[str, ...]:
    names: list[str] = []
    for base in kind.__mro__:
        own = base.__dict__.get("__slots__", ())
        names += [own] if isinstance(own, str) else own
    return tuple(n for n in names if n not in ("__dict__", "__weakref__"))


def _fields(value: object) -> list[tuple[str, Any]]:
    kind: type[Any] = type(value)
    if not kind.__module__.startswith("phalanx."):
        raise TypeError(f"{kind} is unknown to the explorer")
    found = [(name, getattr(value, name)) for name in _slots(kind) if hasattr(value, name)]
    if hasattr(value, "__dict__"):
        found += vars(value).items()
    return found


# --- copying


def fork(value: T) -> T:
    """A copy that shares nothing that can change."""
    result: T = _copy(value, {})
    return result


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    kind: type[Any] = type(value)
    if kind in _ATOMS or _is_shared(kind):
        return value
    found = memo.get(id(value))
    if found is not None:
        return found
    copier = _COPIERS.get(kind)
    if copier is not None:
        return copier(value, memo)
    if isinstance(value, tuple):  # a named one
        return tuple.__new__(kind, [_copy(x, memo) for x in value])
    made = memo[id(value)] = object.__new__(kind)
    for name, part in _fields(value):
        setattr(made, name, _copy(part, memo))
    return made


def _copy_dict(value: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    memo[id(value)] = made
    for key, part in value.items():
        made[key] = _copy(part, memo)
    return made


def _copy_list(value: list[Any], memo: dict[int, Any]) -> list[Any]:
    made: list[Any] = []
    memo[id(value)] = made
    made += [_copy(x, memo) for x in value]
    return made


def _copy_deque(value: deque[Any], memo: dict[int, Any]) -> deque[Any]:
    made: deque[Any] = deque()
    memo[id(value)] = made
    made.extend(_copy(x, memo) for x in value)
    return made


def _copy_set(value: set[Any], memo: dict[int, Any]) -> set[Any]:
    made = memo[id(value)] = set(value)
    return made


def _copy_bytes(value: bytearray, memo: dict[int, Any]) -> bytearray:
    made = memo[id(value)] = bytearray(value)
    return made


def _copy_hash(value: Any, memo: dict[int, Any]) -> Any:
    made = memo[id(value)] = value.copy()
    return made


def _copy_tuple(value: tuple[Any, ...], memo: dict[int, Any]) -> tuple[Any, ...]:
    return tuple([_copy(x, memo) for x in value])


def _copy_function(value: FunctionType, memo: dict[int, Any]) -> FunctionType:
    if value.__closure__ is None:
        return value
    cells = tuple(CellType() for _ in value.__closure__)
    made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
    memo[id(value)] = made
    for cell, old in zip(cells, value.__closure__, strict=True):
        cell.cell_contents = _copy(old.cell_contents, memo)
    return made


def _copy_method(value: MethodType, memo: dict[int, Any]) -> MethodType:
    return MethodType(value.__func__, _copy(value.__self__, memo))


_COPIERS: dict[type, Callable[[Any, dict[int, Any]], Any]] = {
    dict: _copy_dict,
    list: _copy_list,
    deque: _copy_deque,
    set: _copy_set,
    bytearray: _copy_bytes,
    _Hash: _copy_hash,
    tuple: _copy_tuple,
    FunctionType: _copy_function,
    MethodType: _copy_method,
}

# --- comparing


def encode(value: Any, *, ordered: bool = False) -> Any:
    """The object graph as a nested tuple.  ordered: keep the order in which dicts were filled."""
    return _encode(value, {}, ordered)


def _encode(value: Any, seen: dict[int, int], ordered: bool) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, msgspec.Struct):
        return kind.__name__, _pack(value)
    if issubclass(kind, Enum):
        return kind.__name__, value.name
    if issubclass(kind, tuple | list | deque):
        return tuple([_encode(x, seen, ordered) for x in value])
    if issubclass(kind, dict):
        items = [(_encode(k, seen, ordered), k) for k in value]
        if not ordered:
            items.sort(key=repr)
        return tuple([(k, _encode(value[key], seen, ordered)) for k, key in items])
    if issubclass(kind, set | frozenset):
        return tuple(sorted([_encode(x, seen, ordered) for x in value], key=repr))
    if kind is bytearray:
        return bytes(value)
    if kind is _Hash:
        digest: bytes = value.digest()
        return digest
    if issubclass(kind, FunctionType | MethodType | Steady):
        return None  # what it has captured is reached in another way
    return _encode_object(value, kind, seen, ordered)


def _encode_object(value: Any, kind: type, seen: dict[int, int], ordered: bool) -> Any:
    place = seen.get(id(value))
    if place is not None:
        return "again", place
    seen[id(value)] = len(seen)
    left_out = _LEFT_OUT.get(kind, frozenset())
    parts = [_encode(part, seen, ordered) for name, part in _fields(value) if name not in left_out]
    if kind is Silence:
        gaps = {name: gap if 2 * gap > value.limit else 0 for name, gap in value._gap.items()}
        parts.append(_encode(gaps, seen, ordered))
    return kind.__name__, tuple(parts)
