"""Values as a checker compares them: hashable, and equal exactly where JSON says so.

JSON has one type of number, so 1 and 1.0 are the same value; integers are compared exactly, whatever their size.
`true` is no number, and null is a value like any other.  Lists and tuples are the same, objects have no order.
"""

import json
from collections.abc import Hashable, Iterable
from enum import Enum
from typing import Any


class Constant(Enum):
    """What Python would confuse with something else: None means "refused" to a model, and True == 1."""

    NULL = "null"
    TRUE = "true"
    FALSE = "false"
    UNSEEN = "a value that nobody sees"
    """Stands for every state that no remaining operation can observe; see `phalanx.check.outlook`."""


NULL = Constant.NULL
UNSEEN = Constant.UNSEEN


def freeze(value: Any) -> Hashable:
    """The hashable form of a value.  Raises TypeError for what is neither JSON nor hashable."""
    match value:
        case None:
            return NULL
        case bool():
            return Constant.TRUE if value else Constant.FALSE
        case list() | tuple():
            return tuple(map(freeze, value))
        case dict():
            return frozenset((freeze(key), freeze(item)) for key, item in value.items())
    if not isinstance(value, Hashable):
        raise TypeError(f"a {type(value).__name__} cannot be compared with other values")
    return value


def thaw(value: Hashable) -> Any:
    """Undo `freeze` for printing."""
    match value:
        case Constant.NULL:
            return None
        case Constant.TRUE | Constant.FALSE:
            return value is Constant.TRUE
        case tuple():
            return [thaw(item) for item in value]
        case frozenset():
            return {str(thaw(key)): thaw(item) for key, item in sorted(value, key=repr)}
    return value


def show(value: Any) -> str:
    """A value as compact JSON; what JSON does not know, as Python prints it."""
    if isinstance(value, Constant) and value is UNSEEN:
        return value.value
    return json.dumps(thaw(value) if isinstance(value, Hashable) else value, default=repr, ensure_ascii=False)


def show_all(values: Iterable[Hashable], limit: int) -> str:
    """Several values, in a fixed order, at most `limit` of them."""
    texts = sorted(map(show, values))
    return ", ".join(texts[:limit]) + (f", ... ({len(texts)} in all)" if len(texts) > limit else "")
