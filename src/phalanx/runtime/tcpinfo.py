"""What the kernel counts of a TCP connection anyway: to ask for it costs nothing while nobody asks."""

import socket
import struct
import sys
from typing import NamedTuple, Protocol


class Counted(NamedTuple):
    """Of one connection, since it was made."""

    received: int
    """Bytes."""
    sent: int
    """Bytes, as far as the other side's kernel has them."""
    resent: int
    """Segments."""
    round_trip_us: int


class Socket(Protocol):
    """What an event loop shows of one."""

    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...


_INFO = struct.Struct("@68xI20xI24xQQ")
"""Of Linux's `struct tcp_info`: tcpi_rtt, tcpi_total_retrans, tcpi_bytes_acked, tcpi_bytes_received."""

NAME = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None


def counted(of: Socket | None) -> Counted | None:
    """None where the system does not tell, and of what is no TCP connection any more."""
    if of is None or NAME is None:
        return None
    try:
        data = of.getsockopt(socket.IPPROTO_TCP, NAME, _INFO.size)
    except OSError:
        return None
    if len(data) < _INFO.size:
        return None
    round_trip_us, resent, acknowledged, received = _INFO.unpack(data)
    return Counted(received, acknowledged, resent, round_trip_us)
