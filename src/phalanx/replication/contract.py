"""What a type looks like on the wire, spelled out: the ground of the contract that replicas and callers compare.

Two annotations that spell alike read each other's bytes; the spelling holds no documentation and no addresses, so it is
the same in every process that runs the same code.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from phalanx.errors import ConfigurationError
from phalanx.replication.outcome import text_of

M = TypeVar("M")

UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What a codec raises for a value that it has no encoding for."""


def marked(method: Any, known: Mapping[Callable[..., Any], M], of: str) -> M:
    """What a method is, of the known ones of a class.  Raises `ConfigurationError` for any other function."""
    try:
        found = known.get(method)
    except TypeError:  # it has no hash
        found = None
    if found is not None:
        return found
    name = getattr(method, "__qualname__", repr(method))
    if getattr(method, "__func__", None) in known:
        raise ConfigurationError(f"{name} is bound to an instance of yours: give the method of the class")
    raise ConfigurationError(f"{name} is no method of {of}")


def not_encoded(error: Exception, where: str) -> TypeError:
    """The error of a call one of whose arguments has no encoding, from what the codec raised (`UNENCODABLE`)."""
    return TypeError(f"{where}: an argument cannot be encoded: {text_of(error)}")


def spell(annotation: Any, where: str) -> str:
    """The type in canonical words.  Raises `ConfigurationError`, which begins with `where`, for what has no codec."""
    try:
        info = inspect.type_info(annotation)
    except (TypeError, NameError) as error:
        raise ConfigurationError(f"{where}: {error}") from error
    return _spell(info, where, ())


def fingerprint(*words: str) -> int:
    """32 bits of the words: enough to tell two versions of one operation apart, not a defence against forgers."""
    return zlib.crc32("\n".join(words).encode())


def contract(head: str, *words: str) -> str:
    """What is spoken in a group (`GroupSpec.contract`): its kind, which `head` says, and a fingerprint of all of it."""
    return f"{head}:{hashlib.blake2b(chr(10).join(words).encode(), digest_size=16).hexdigest()}"


def _spell(info: Any, where: str, open_classes: tuple[type, ...]) -> str:
    if isinstance(info, inspect.CustomType):
        raise ConfigurationError(
            f"{where}: {info.cls.__qualname__} has no codec; use a dataclass, a msgspec.Struct or built-in types"
        )
    if isinstance(info, inspect.EnumType):
        return f"{info.cls.__name__}[{', '.join(repr(member.value) for member in _members(info.cls))}]"
    cls: type | None = getattr(info, "cls", None)
    if cls is not None:
        if cls in open_classes:
            return f"^{cls.__name__}"  # a type that contains itself
        open_classes = (*open_classes, cls)
    parts = [cls.__name__] if cls is not None else []
    for name in info.__struct_fields__:
        value = getattr(info, name)
        if name != "cls" and value is not None:
            parts.append(f"{name}={_spell_value(value, where, open_classes)}")
    return f"{type(info).__name__.removesuffix('Type').lower()}({', '.join(parts)})"


def _spell_value(value: Any, where: str, open_classes: tuple[type, ...]) -> str:
    if isinstance(value, inspect.Field):
        shape = _spell(value.type, where, open_classes)
        return f"{value.encode_name}: {shape}" + ("" if value.required else "?")
    if isinstance(value, inspect.Type):
        return _spell(value, where, open_classes)
    if isinstance(value, tuple):
        return "(" + ", ".join(_spell_value(each, where, open_classes) for each in value) + ")"
    return repr(value)


def _members(cls: type) -> list[Enum]:
    return sorted(cls, key=lambda member: member.name) if issubclass(cls, Enum) else []


def struct(name: str, fields: list[tuple[str, Any]]) -> type[msgspec.Struct]:
    """A struct type that is encoded as an array of its fields."""
    return msgspec.defstruct(name, [(field, kind) for field, kind in fields], array_like=True)
