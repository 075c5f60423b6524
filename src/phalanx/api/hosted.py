"""Which replicated objects a process hosts from its beginning, and how."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from phalanx.api.arguments import name_of
from phalanx.model.view import GroupSpec, Order
from phalanx.replication.objects import ObjectType, describe

T = TypeVar("T")


class Hosted(NamedTuple):
    """A replicated object to host from the very beginning: its class, the length of its read leases in milliseconds, and
    whether it is durable, with how many copies (see `Process.host`)."""

    cls: type[Any]
    lease_ms: int = 0
    durable: bool = False
    min_copies: int = 1


Objects = Mapping[str, tuple[type[Any], int] | Hosted]
"""By name."""


def hosted_of(name: str, what: object) -> Hosted:
    """What is to be hosted under a name.  Raises `TypeError` for what does not say it."""
    if isinstance(what, tuple) and what and isinstance(what[0], type):
        return Hosted(*what)
    raise TypeError(f"objects[{name!r}] must be (Class, lease_ms) or Hosted(Class, ...), not {what!r}")


def described(
    name: str, cls: type[T], lease_ms: int = 0, durable: bool = False, min_copies: int = 1
) -> tuple[ObjectType[T], GroupSpec]:
    """The class as a replicated object, and the group that it lives in, which has the class's name if none is given.
    Raises `ConfigurationError`, and `TypeError` for what is no class or no name."""
    if not isinstance(cls, type):
        raise TypeError(f"give the class, not {cls!r}: each node makes its own instance")
    kind: ObjectType[T] = describe(cls)
    return kind, GroupSpec(
        name_of(name or cls.__name__, "the name of an object"),
        Order.TOTAL,
        False,
        lease_ms,
        kind.contract,
        durable,
        min_copies,
    )
