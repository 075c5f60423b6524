"""What callers hand over, looked at first: further in a mistake would stop a node, block a group, or be waited for
without end."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import inf, isfinite
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

from phalanx.errors import ConfigurationError
from phalanx.group.config import Limits, Timing
from phalanx.group.ranges import SPEC_TEXT_MAX, is_name
from phalanx.model.view import Address, Name
from phalanx.runtime.addresses import split_address
from phalanx.runtime.transport import is_everywhere

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SECONDS_MAX = 1e9
"""Thirty years.  What is much longer has no place in the integers of a message, nor in the timers of an event loop."""


def bytes_of(data: Any, what: str) -> bytes:
    """The bytes, copied if whoever gave them could still change them, or if they are of a class of their own, which has
    no encoding.  Raises `TypeError` for anything else."""
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    advice = ": encode it, as with .encode()" if isinstance(data, str) else ""
    raise TypeError(f"{what} must be bytes, not {type(data).__name__}{advice}")


def seconds_of(duration: Any, what: str, least: float = -SECONDS_MAX) -> float:
    """The duration.  Raises `TypeError` for what is no number (a text times a billion is a gigabyte of text), and
    `ConfigurationError` for one that has no end, or is none, or is out of its bounds."""
    if isinstance(duration, bool) or not isinstance(duration, Real):
        raise TypeError(f"{what} is a number of seconds, not {type(duration).__name__}")
    try:
        seconds = float(duration)
    except OverflowError:  # an int that is larger than any float
        seconds = inf
    if not isfinite(seconds):
        raise ConfigurationError(f"{what} is a finite number of seconds, not {seconds}")
    if not least <= seconds <= SECONDS_MAX:
        raise ConfigurationError(f"{what} is from {max(least, 0):g} to {SECONDS_MAX:g} seconds, not {seconds:g}")
    return seconds


def milliseconds_of(moment: Any, what: str) -> int:
    """Of that time, since the epoch.  Raises `TypeError` for what is no datetime, and `ConfigurationError` for one that
    has no time zone, or is before the epoch."""
    if not isinstance(moment, datetime):
        raise TypeError(f"{what} is a datetime, not {type(moment).__name__}")
    if moment.tzinfo is None:
        raise ConfigurationError(f"{moment} could be any of two dozen instants: give it a time zone")
    milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise ConfigurationError(f"{moment} is before any store")
    return milliseconds


def flag_of(flag: Any, what: str) -> bool:
    """The flag.  Raises `TypeError` for anything but True and False: "no" is true."""
    if not isinstance(flag, bool):
        raise TypeError(f"{what} must be True or False, not {flag!r}")
    return flag


def callable_of(function: Any, what: str) -> None:
    """Raises `TypeError` if it cannot be called; it is called much later, elsewhere."""
    if not callable(function):
        raise TypeError(f"{what} must be a function, not {type(function).__name__}")


def class_of(cls: Any) -> type[Any]:
    """The class.  Raises `TypeError` for what is none."""
    if not isinstance(cls, type):
        raise TypeError(f"give the class, not {cls!r}: each node makes its own instance")
    return cls


def mapping_of(given: Any, what: str) -> dict[Any, Any]:
    """A copy of the mapping.  Raises `TypeError` for anything else."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} are a mapping from names, not {given!r}")
    return dict(given)


def sequence_of(given: Any, what: str) -> tuple[Any, ...]:
    """What is in it.  Raises `TypeError` for what cannot be iterated, and for one text instead of several."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{what} are a sequence, not {given!r}")
    return tuple(given)


def names_of(given: Any, what: str) -> tuple[Any, ...]:
    """Several names; as one text if each is one letter.  Raises `TypeError` for what cannot be iterated."""
    return tuple(given) if isinstance(given, str) else sequence_of(given, what)


def number_of(number: Any, what: str, least: int | None = None, most: int | None = None) -> int:
    """The whole number.  Raises `TypeError` for anything else, and `ConfigurationError` if it is less, or more."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{what} must be an int, not {type(number).__name__}")
    if least is not None and number < least:
        raise ConfigurationError(f"{what} is at least {least}, not {number}")
    if most is not None and number > most:
        raise ConfigurationError(f"{what} is at most {most}, not {number}")
    return number


def name_of(name: Any, what: str) -> str:
    """The name.  Raises `ConfigurationError` if it is empty, too long or cannot be encoded, and `TypeError` if it is no
    text."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise ConfigurationError(f"{what} must not be empty")
    if len(name) > SPEC_TEXT_MAX:
        raise ConfigurationError(f"{what} has {len(name)} letters, the limit is {SPEC_TEXT_MAX}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{what} cannot be encoded: {name!r} has half of a surrogate pair") from None
    return str(name)


def node_name(name: Any) -> Name:
    """The name.  Raises `ConfigurationError` if no node can have it, and `TypeError` if it is no text."""
    if not is_name(name_of(name, "the name of a node")) or not name.isprintable():
        raise ConfigurationError(
            f"{name!r} cannot be the name of a node: it is too long, or has what cannot be printed"
        )
    return str(name)


def address_of(address: Any) -> Address:
    """The address, if it can be dialled.  Raises `ConfigurationError` if not, and `TypeError` if it is no text."""
    _split(address)
    return str(address)


def _split(address: Any, least_port: int = 1) -> tuple[str, int]:
    if not isinstance(address, str):
        raise TypeError(f"an address is a str like 'host:port', not {type(address).__name__}")
    try:
        return split_address(address, least_port)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def cluster_of(cluster: Any) -> int:
    """The id of a cluster, from its digits; 0 if there are none.  Raises `ConfigurationError`, and `TypeError`."""
    if not isinstance(cluster, str):
        raise TypeError(f"the id of a cluster is a str like 'c3b3c638e2ca5b', not {type(cluster).__name__}")
    try:
        found = int(cluster or "0", 16)
    except ValueError:
        found = -1
    if cluster and not 0 < found < 1 << 64:
        raise ConfigurationError(f"{cluster!r} is no id of a cluster; one looks like 'c3b3c638e2ca5b'")
    return found


def addresses_of(given: Iterable[Any], what: str) -> tuple[Address, ...]:
    """Several of them.  Raises as `address_of`, and `TypeError` for one text instead of a sequence."""
    if isinstance(given, str):
        raise TypeError(f"{what} are a sequence of addresses: give [{given!r}]")
    return tuple(address_of(address) for address in sequence_of(given, what))


def peers_of(given: Iterable[Any]) -> tuple[tuple[Name, Address], ...]:
    """Names and addresses.  Raises as `node_name` and `address_of`, `TypeError` for what are no pairs, and
    `ConfigurationError` if two have one name or address: such a cluster would wait for its founders without end."""
    peers = []
    for peer in sequence_of(given, "peers"):
        if not isinstance(peer, tuple | list) or len(peer) != 2:
            raise TypeError(f"peers are pairs of a name and an address, not {peer!r}")
        peers.append((node_name(peer[0]), address_of(peer[1])))
    if any(len(set(column)) < len(column) for column in zip(*peers, strict=True)):
        raise ConfigurationError(f"each founding peer has a name and an address of its own: {peers}")
    return tuple(peers)


def dialled_at(advertise: Any) -> tuple[str, int]:
    """Host and port that others are to dial.  Raises as `address_of`, and for one that stands for all interfaces."""
    host, port = _split(advertise)
    if is_everywhere(host):
        raise ConfigurationError(
            f"nobody can dial {advertise}: advertise an address of this machine, or one that leads to it"
        )
    return host, port


def place_of(listen: Any) -> tuple[str, int]:
    """Host and port to listen at; port 0 is any free one.  Raises as `address_of`."""
    return _split(listen, 0)


def host_of(listen: Any, advertise: Any) -> str:
    """The host by which others know a node, which its certificate has to name.  Raises as `address_of`."""
    return (place_of(listen) if advertise is None else dialled_at(advertise))[0]


def look_at_loop(loop: asyncio.AbstractEventLoop, what: str) -> None:
    """Raises `RuntimeError` on another loop than that: nothing there would be woken, nor the node be safe."""
    if asyncio.get_running_loop() is not loop:
        raise RuntimeError(f"{what} is of another event loop: use it there (asyncio.run_coroutine_threadsafe)")


def check_settings(timing: Any, limits: Any) -> None:
    """Raises `TypeError` for what are none."""
    if not isinstance(timing, Timing) or not isinstance(limits, Limits):
        raise TypeError("timing is a phalanx.Timing, and limits are phalanx.Limits")


def directory_of(data: Any) -> Path:
    """The path.  Raises `TypeError`, and `ConfigurationError` for an empty one, which is whatever directory the program
    happens to be in."""
    if not isinstance(data, str | PathLike):
        raise TypeError(f"a data directory is a str or a Path, not {type(data).__name__}")
    if not str(data) or "\0" in str(data):
        raise ConfigurationError(f"{str(data)!r} is no data directory; give its path, '.' for this one")
    return Path(data)
