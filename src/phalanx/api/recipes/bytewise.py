"""Names and data of recipes are bytes, as keys and values are, and their store is one for asyncio: who gives something
else is told what and where."""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from phalanx.api.arguments import bytes_of
from phalanx.api.store import Store

P = ParamSpec("P")
R = TypeVar("R")


def takes_bytes(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, but for `TypeError` where a parameter that is annotated as `bytes`, or as `Store`, is given
    anything else."""
    signature = inspect.signature(function)
    stores = [name for name, parameter in signature.parameters.items() if parameter.annotation is Store]
    wanted = [name for name, parameter in signature.parameters.items() if parameter.annotation is bytes]
    is_method = next(iter(signature.parameters), "") == "self"

    def where(args: tuple[object, ...]) -> str:
        """As the caller knows it: by the class of the object, which may have inherited the method."""
        name = function.__name__
        if not is_method:
            return name
        cls = type(args[0]).__name__
        return cls if name == "__init__" else f"{cls}.{name}"

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        for name in stores:
            if not isinstance(given[name], Store):
                raise TypeError(
                    f"{where(args)}: give a store of a phalanx.Client (client.kv()), not {given[name]!r}; "
                    f"phalanx.sync.recipes is for stores of phalanx.sync"
                )
        for name in wanted:
            if name in given:
                bytes_of(given[name], f"{where(args)}: {name}")
        return function(*args, **kwargs)

    return checked
