"""A value that is not the one: the same type, and one part of it another.  For messages of machines that nobody knows.

A part is a number, a truth value, a text or bytes, however deep inside structs, tuples, lists, dictionaries, sets and
dataclasses.  Numbers become one more or less, texts and bytes get another character or byte, or their first.
"""

import dataclasses
import random
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import msgspec

PARTS_MAX = 10_000
"""Parts of one value that may be altered: the others of a larger value stay as they are."""

Put = Callable[[Any], Any]
"""The whole value with something else in the place of one part."""


def altered(value: Any, rng: random.Random) -> Any:
    """A copy with one part altered, drawn from `rng`; the value itself if there is no part that could be."""
    parts: list[tuple[Any, Put]] = []
    for part in _parts(value, lambda new: new):
        parts.append(part)
        if len(parts) == PARTS_MAX:
            break
    if not parts:
        return value
    part, put = rng.choice(parts)
    return put(_another(part, rng))


def _another(part: Any, rng: random.Random) -> Any:
    match part:
        case bool():
            return not part
        case int():
            return part + rng.choice((-1, 1))
        case float():
            return part + rng.choice((-1.0, 1.0))
        case bytes():
            at = rng.randrange(max(1, len(part)))
            return part[:at] + bytes([(part[at] if part else 0) ^ rng.randint(1, 255)]) + part[at + 1 :]
        case str():
            at = rng.randrange(max(1, len(part)))
            return part[:at] + rng.choice([each for each in "abcdefgh" if each != part[at : at + 1]]) + part[at + 1 :]
        case _:
            raise AssertionError(f"{part!r} is no part")


def _parts(value: Any, put: Put) -> Iterator[tuple[Any, Put]]:
    """Each part, and what puts another one in its place."""
    match value:
        case Enum():
            return
        case bool() | int() | float() | bytes() | str():
            yield value, put
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from _parts(getattr(value, name), _into_struct(value, name, put))
        case tuple() | list():
            for at, each in enumerate(value):
                yield from _parts(each, _into_sequence(value, at, put))
        case dict():
            for key, each in value.items():
                yield from _parts(each, _into_dict(value, key, put))
        case set() | frozenset():
            for each in sorted(value, key=repr):
                yield from _parts(each, _into_set(value, each, put))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                yield from _parts(getattr(value, field.name), _into_dataclass(value, field.name, put))
        case _:
            return


def _into_struct(value: msgspec.Struct, name: str, put: Put) -> Put:
    return lambda new: put(msgspec.structs.replace(value, **{name: new}))


def _into_sequence(value: Any, at: int, put: Put) -> Put:
    def replaced(new: Any) -> Any:
        items = [*value[:at], new, *value[at + 1 :]]
        if isinstance(value, list):
            return put(items)
        return put(type(value)(*items) if hasattr(value, "_fields") else tuple(items))

    return replaced


def _into_dict(value: dict[Any, Any], key: Any, put: Put) -> Put:
    return lambda new: put({**value, key: new})


def _into_set(value: Any, old: Any, put: Put) -> Put:
    return lambda new: put(type(value)((value - {old}) | {new}))


def _into_dataclass(value: Any, name: str, put: Put) -> Put:
    return lambda new: put(dataclasses.replace(value, **{name: new}))
