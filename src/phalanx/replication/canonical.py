"""A state in canonical form: equal states, equal bytes, whatever the order in which sets and dictionaries were filled.

msgspec sorts dictionaries by keys that are texts, and sets by `<` of their items: fast, and enough for most classes.  For
any other (keys that are numbers or bytes; sets of values that `<` does not order, or orders only in part, as it does
sets) the state is walked, and dictionaries and sets are sorted by the bytes of their canonical items.  Which of the two
is decided by the types alone, so all replicas decide alike.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

_ORDERED = (inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType, inspect.BytesType)
"""Values of one of these types are ordered by `<`."""

_encode = msgspec.msgpack.Encoder().encode
_sorting = msgspec.msgpack.Encoder(order="deterministic").encode


def sorts(annotations: Iterable[Any]) -> bool:
    """Whether msgspec can bring values of all these types into a canonical order by itself."""
    return all(_sorts(inspect.type_info(annotation), ()) for annotation in annotations)


def encode(state: msgspec.Struct, by_msgspec: bool) -> bytes:
    """The canonical form.  `by_msgspec`: what `sorts` said of its fields' types."""
    return _sorting(state) if by_msgspec else _encode(walked(state))


def walked(value: Any) -> Any:
    """The value as lists of lists, with everything in its canonical place.  Values of different types stay different."""
    match value:
        case dict():
            pairs = sorted((_encode(walked(key)), _encode(walked(item))) for key, item in value.items())
            return ["{", pairs]
        case set() | frozenset():
            return ["(", sorted(_encode(walked(item)) for item in value)]
        case list() | tuple():
            return ["[", [walked(item) for item in value]]
        case msgspec.Struct():
            fields = [(name, walked(getattr(value, name))) for name in value.__struct_fields__]
            return [type(value).__name__, fields]
        case _ if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
            return [type(value).__name__, [(name, walked(getattr(value, name))) for name in names]]
        case _ if hasattr(value, "__attrs_attrs__"):
            return [
                type(value).__name__,
                [(each.name, walked(getattr(value, each.name))) for each in value.__attrs_attrs__],
            ]
    return value


def _sorts(info: Any, open_classes: tuple[type, ...]) -> bool:
    match info:
        case inspect.AnyType():
            return False  # nobody knows what it will hold
        case inspect.DictType(key_type=key):
            if not isinstance(key, inspect.StrType):
                return False
        case inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
            if not isinstance(item, _ORDERED):
                return False
    cls: type | None = getattr(info, "cls", None)
    if cls is not None:
        if cls in open_classes:
            return True
        open_classes = (*open_classes, cls)
    parts = [getattr(info, name) for name in info.__struct_fields__ if name != "cls"]
    return all(_sorts(part, open_classes) for part in _types_in(parts))


def _types_in(parts: Iterable[Any]) -> Iterable[Any]:
    for part in parts:
        if isinstance(part, tuple):
            yield from _types_in(part)
        elif isinstance(part, inspect.Field):
            yield part.type
        elif isinstance(part, inspect.Type):
            yield part
