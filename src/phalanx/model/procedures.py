"""Marking the methods of a class that a troupe's members execute: the vocabulary of group calls.

    class Sensor:
        @procedure
        def temperature(self, room: str) -> float: ...

        @procedure(combine=max)
        async def load(self) -> float: ...

Unlike a replicated object, each member has an instance of its own, and may answer what the others do not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

from phalanx.errors import ConfigurationError
from phalanx.model.replicated import check_mark

F = TypeVar("F", bound=Callable[..., Any])

PROCEDURE = "__phalanx_procedure__"
"""The attribute in which a marked function carries its `ProcedureMark`."""


class ProcedureMark(NamedTuple):
    """What the decorator was told."""

    name: str
    version: int
    raises: tuple[type[Exception], ...]
    combine: Callable[[Any, Any], Any] | None


@overload
def procedure(function: F, /) -> F: ...
@overload
def procedure(
    *,
    name: str = "",
    version: int = 1,
    raises: tuple[type[Exception], ...] = (),
    combine: Callable[[Any, Any], Any] | None = None,
) -> Callable[[F], F]: ...


def procedure(
    function: F | None = None,
    /,
    *,
    name: str = "",
    version: int = 1,
    raises: tuple[type[Exception], ...] = (),
    combine: Callable[[Any, Any], Any] | None = None,
) -> F | Callable[[F], F]:
    """Mark a method as a procedure: executed once by every host of its troupe, for each call.  It may be `async`.

    name, version, raises: as for `command`.
    combine: of two results makes one, in any grouping (associative) and any order: `Troupe.combined` has them combined on
        their way to the caller.

    Raises `ConfigurationError` if an argument makes no sense.
    """
    check_mark("procedure", name, version, raises)
    if combine is not None and not callable(combine):
        raise ConfigurationError(f"@procedure: combine must be a function of two results, not {combine!r}")

    def mark(function: F) -> F:
        if not callable(function) or not hasattr(function, "__code__"):
            raise ConfigurationError(f"@procedure goes on a plain method, not on {function!r}")
        setattr(function, PROCEDURE, ProcedureMark(name or function.__name__, version, tuple(raises), combine))
        return function

    return mark if function is None else mark(function)
