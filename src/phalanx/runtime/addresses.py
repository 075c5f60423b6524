"""What an address is: "host:port", where the host is a name, an IPv4 address, or an IPv6 address in brackets.

One rule for whatever is listened at, dialled, or said by another node.  What could be meant in two ways is refused: ::1:1
is an IPv6 address without a port as much as port 1 of ::1.
"""

import ipaddress
import re

from phalanx.model.view import Address

HOST_CHARS_MAX = 253
"""Of a domain name (RFC 1035, section 2.3.4); each of its labels has 63 at most."""

ADDRESS_CHARS_MAX = 300
"""A domain name and a port, with room."""

_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_FOUR_NUMBERS = re.compile(r"\d+(?:\.\d+){3}")
_PORT = re.compile(r"[0-9]{1,5}")


def fault_of_address(text: str, least_port: int = 1) -> str:
    """Why it is none, in words that follow it; empty if it is one.  `least_port`: 0 where it is listened at, for any free
    one."""
    if len(text) > ADDRESS_CHARS_MAX:
        return f"it has {len(text)} letters, the limit is {ADDRESS_CHARS_MAX}"
    if not text.isprintable() or " " in text:
        return "it has a space, or what cannot be printed"
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return "it has no port"
    if not host:
        return "it has no host"
    if _is_ip6(host):
        return f"an IPv6 address stands in brackets: [{host}]:{port}"
    if _is_ip6(text):
        return f"it has no port: with one it is [{text}]:port"
    fault = _fault_of_host(host)
    if not fault and (not _PORT.fullmatch(port) or not least_port <= int(port) < 65536):
        fault = f"{port!r} is no port, a number from {least_port} to 65535" if port else "it has no port"
    return fault


def _fault_of_host(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        return "" if _is_ip6(host[1:-1]) else "no IPv6 address is in the brackets"
    if "[" in host or "]" in host:
        return "its brackets do not enclose the host"
    if not _NAME.fullmatch(host) or len(host) > HOST_CHARS_MAX:
        return f"no host can have the name {host!r}"
    if _FOUR_NUMBERS.fullmatch(host) and not _is(ipaddress.IPv4Address, host):
        return f"{host} is no IPv4 address"
    return ""


def _is_ip6(text: str) -> bool:
    return _is(ipaddress.IPv6Address, text)


def _is(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def is_address(text: str) -> bool:
    """Whether it can be dialled."""
    return not fault_of_address(text)


def split_address(address: Address, least_port: int = 1) -> tuple[str, int]:
    """Host and port.  Raises ValueError, which says what is wrong, if it is no address."""
    if fault := fault_of_address(address, least_port):
        raise ValueError(f"{address!r} is no address: {fault}; one looks like host:port or [::1]:port")
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
