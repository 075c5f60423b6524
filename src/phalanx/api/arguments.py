"""What callers hand over, looked at first: further in a mistake would stop a node, block a group, or be waited for
without end."""

from typing import Any

from phalanx.errors import ConfigurationError


def bytes_of(data: Any, what: str) -> bytes:
    """The bytes, copied if whoever gave them could still change them.  Raises `TypeError` for anything else."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    advice = ": encode it, as with .encode()" if isinstance(data, str) else ""
    raise TypeError(f"{what} must be bytes, not {type(data).__name__}{advice}")


def name_of(name: Any, what: str) -> str:
    """The name.  Raises `ConfigurationError` if it is empty, and `TypeError` if it is no text."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise ConfigurationError(f"{what} must not be empty")
    return name
