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
    where = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        for name in stores:
            if not isinstance(given[name], Store):
                raise TypeError(
                    f"{where}: give a store of a phalanx.Client (client.kv()), not {given[name]!r}; "
                    f"phalanx.sync.recipes is for stores of phalanx.sync"
                )
        for name in wanted:
            if name in given:
                bytes_of(given[name], f"{where}: {name}")
        return function(*args, **kwargs)

    return checked
