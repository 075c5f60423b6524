"""What callers hand over, looked at first: further in a mistake would stop a node, block a group, or be waited for
without end."""

from collections.abc import Iterable
from math import isfinite
from numbers import Real
from typing import Any

from phalanx.errors import ConfigurationError
from phalanx.group.ranges import is_name
from phalanx.model.view import Address, Name
from phalanx.runtime.connection import is_address
from phalanx.runtime.transport import is_everywhere


def bytes_of(data: Any, what: str) -> bytes:
    """The bytes, copied if whoever gave them could still change them.  Raises `TypeError` for anything else."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    advice = ": encode it, as with .encode()" if isinstance(data, str) else ""
    raise TypeError(f"{what} must be bytes, not {type(data).__name__}{advice}")


def seconds_of(duration: Any, what: str) -> float:
    """The duration.  Raises `TypeError` for what is no number (a text times a billion is a gigabyte of text), and
    `ConfigurationError` for one that has no end, or is none."""
    if not isinstance(duration, Real):
        raise TypeError(f"{what} is a number of seconds, not {type(duration).__name__}")
    if not isfinite(duration):
        raise ConfigurationError(f"{what} is a finite number of seconds, not {duration}")
    return float(duration)


def number_of(number: Any, what: str, least: int | None = None, most: int | None = None) -> int:
    """The whole number.  Raises `TypeError` for anything else, and `ConfigurationError` if it is less, or more."""
    if not isinstance(number, int):
        raise TypeError(f"{what} must be an int, not {type(number).__name__}")
    if least is not None and number < least:
        raise ConfigurationError(f"{what} is at least {least}, not {number}")
    if most is not None and number > most:
        raise ConfigurationError(f"{what} is at most {most}, not {number}")
    return number


def name_of(name: Any, what: str) -> str:
    """The name.  Raises `ConfigurationError` if it is empty, and `TypeError` if it is no text."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise ConfigurationError(f"{what} must not be empty")
    return name


def node_name(name: Any) -> Name:
    """The name.  Raises `ConfigurationError` if no node can have it, and `TypeError` if it is no text."""
    if not is_name(name_of(name, "the name of a node")) or not name.isprintable():
        raise ConfigurationError(
            f"{name!r} cannot be the name of a node: it is too long, or has what cannot be printed"
        )
    return str(name)


def address_of(address: Any) -> Address:
    """The address, if it can be dialled.  Raises `ConfigurationError` if not, and `TypeError` if it is no text."""
    if not isinstance(address, str):
        raise TypeError(f"an address is a str like 'host:port', not {type(address).__name__}")
    if not is_address(address):
        raise ConfigurationError(f"{address!r} is no address; one looks like host:port or [::1]:port")
    return address


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
    return tuple(address_of(address) for address in given)


def peers_of(given: Iterable[Any]) -> tuple[tuple[Name, Address], ...]:
    """Names and addresses.  Raises as `node_name` and `address_of`, and `TypeError` for what are no pairs."""
    peers = []
    for peer in given:
        if not isinstance(peer, tuple | list) or len(peer) != 2:
            raise TypeError(f"peers are pairs of a name and an address, not {peer!r}")
        peers.append((node_name(peer[0]), address_of(peer[1])))
    return tuple(peers)


def dialled_at(advertise: Any) -> tuple[str, int]:
    """Host and port that others are to dial.  Raises as `address_of`, and for one that stands for all interfaces."""
    host, port = place_of(address_of(advertise))
    if is_everywhere(host):
        raise ConfigurationError(
            f"nobody can dial {advertise}: advertise an address of this machine, or one that leads to it"
        )
    return host, port


def place_of(listen: Any) -> tuple[str, int]:
    """Host and port to listen at; port 0 is any free one.  Raises as `address_of`."""
    host, colon, port = listen.rpartition(":") if isinstance(listen, str) else ("", "", "")
    if port == "0":
        address_of(f"{host}{colon}1")
    else:
        address_of(listen)
    return host.removeprefix("[").removesuffix("]"), int(port)
