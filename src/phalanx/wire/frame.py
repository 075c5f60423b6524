"""One frame format for sockets and files: a header of 12 bytes, then the body.

    offset  size  field
    0       4     CRC32C of everything that follows in the frame
    4       2     magic, b"PX"
    6       1     version of the format
    7       1     kind: what the body is, see `Kind`
    8       4     length of the body

All integers are little-endian.  The checksum covers magic, version, kind and length too, so no altered frame is taken
for another one (CRC32C finds every error of up to three bits in frames of our size, and others but for 1 in 2**32;
Koopman, "32-Bit Cyclic Redundancy Codes for Internet Applications", 2002).  It is no defence against intent: TLS is.

A length is checked against the limit before anything is allocated, and memory grows with the bytes that have arrived,
never with the bytes that a header promises.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

import google_crc32c

from phalanx.errors import TooLarge
from phalanx.wire.errors import FrameError, TornFrame

FORMAT_VERSION: Final = 1
MAGIC: Final = 0x5850  # b"PX"
HEADER_SIZE: Final = 12

BODY_BYTES_MAX: Final = 8 << 20
"""Largest body.  State transfer and batches are cut far below it; it bounds what one connection can make us hold."""

FRAME_BYTES_MAX = HEADER_SIZE + BODY_BYTES_MAX

COPIED_BYTES_MAX: Final = 4096
"""Up to here it is cheaper to copy a body once more than to make one call more."""

_HEADER = struct.Struct("<IHBBI")
_CHECKED = struct.Struct("<HBBI")
_CHECKSUM = struct.Struct("<I")
_CHECKSUM_SIZE: Final = 4
_KIND_OFFSET: Final = 3  # in the checked part, which begins after the checksum
_BODY_OFFSET: Final = 8
_unpack_header: Final = _HEADER.unpack_from
_pack_checked: Final = _CHECKED.pack
_pack_checksum: Final = _CHECKSUM.pack
_crc32c: Final = google_crc32c.value


class Kind(IntEnum):
    """What a frame's body is."""

    HELLO = 1
    """First frame of each side of a connection."""
    MESSAGE = 2
    """A message between machines."""
    STATE = 3
    """A copy of a node's small durable state (runtime.disk)."""
    RECORD = 4
    """A record of a log (runtime.log)."""
    SEGMENT = 5
    """The first frame of each file of a log: which part of the log it holds, and where the one before it ends."""
    BACKUP = 6
    """A record of a backup (api.backup)."""
    MULTICAST = 7
    """A datagram of a multicast channel (runtime.datagrams)."""


Frame = tuple[int, memoryview]
"""Kind and body.  The kind is a plain integer: kinds that are not in `Kind` are for the receiver to refuse."""


def encode_frame(kind: int, body: bytes) -> bytes:
    """One frame.  Raises `TooLarge` if the body is larger than `BODY_BYTES_MAX`."""
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(f"a frame of {len(body)} bytes; the limit is {BODY_BYTES_MAX}")
    checked = _pack_checked(MAGIC, FORMAT_VERSION, kind, len(body))
    if len(body) <= COPIED_BYTES_MAX:
        checked += body
        return _pack_checksum(_crc32c(checked)) + checked
    checksum = google_crc32c.extend(_crc32c(checked), body)
    return b"".join((_pack_checksum(checksum), checked, body))


def _frame_size(data: bytes | bytearray, at: int, limit: int) -> int:
    """Size of the frame whose header is at that offset of `data`.  Raises FrameError if it is none, or too large."""
    _, magic, version, _, length = _unpack_header(data, at)
    if magic != MAGIC:
        raise FrameError(f"not a Phalanx frame: it begins with {bytes(data[at : at + HEADER_SIZE])!r}")
    if version != FORMAT_VERSION:
        raise FrameError(f"frame format version {version}; this node speaks {FORMAT_VERSION}")
    if length > limit:
        raise FrameError(f"a frame of {length} bytes; the limit here is {limit}")
    return HEADER_SIZE + int(length)


def _checked_frame(checksum: int, checked: bytes) -> Frame:
    """The frame made of everything behind its checksum.  Raises FrameError if the checksum is another."""
    if _crc32c(checked) != checksum:
        raise FrameError(f"bad checksum in a frame of {len(checked) - _BODY_OFFSET} bytes")
    return checked[_KIND_OFFSET], memoryview(checked)[_BODY_OFFSET:]


class FrameDecoder:
    """Cuts the bytes of one connection into frames, however the network has chopped them.

    A frame that lies within one read is copied once, out of the read.  One that spans several is gathered in a buffer
    that grows with what has come, and copied out when it is whole: twice in all, whatever its size and the reads'.

    After a FrameError nothing more can be told from the connection, and the decoder must be thrown away.
    """

    __slots__ = ("_held", "_wanted", "limit")

    def __init__(self, limit: int = BODY_BYTES_MAX) -> None:
        self.limit = limit
        """Largest body in bytes; may be changed between reads."""
        self._held = bytearray()
        """The frame that has begun but not ended; its size is `_wanted`, or it has not even a whole header."""
        self._wanted = HEADER_SIZE

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._held)

    @property
    def beginning(self) -> bytes:
        """The first of these."""
        return bytes(self._held[:HEADER_SIZE])

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete, in order.  Raises FrameError."""
        frames: list[Frame] = []
        at = self._finish_held(data, frames) if self._held else 0
        end = len(data)
        while end - at >= HEADER_SIZE:
            checksum, magic, version, kind, length = _unpack_header(data, at)
            if magic != MAGIC or version != FORMAT_VERSION or length > self.limit:
                _frame_size(data, at, self.limit)  # it says what is wrong
            size = HEADER_SIZE + length
            if end - at < size:
                self._wanted = size
                break
            checked = data[at + _CHECKSUM_SIZE : at + size]
            if _crc32c(checked) != checksum:
                _checked_frame(checksum, checked)  # it says so
            frames.append((kind, memoryview(checked)[_BODY_OFFSET:]))
            at += size
        if at < end:
            self._held += memoryview(data)[at:]
        return frames

    def _finish_held(self, data: bytes, frames: list[Frame]) -> int:
        """Complete the frame begun by earlier reads; the offset in `data` behind what was taken for it."""
        held = self._held
        view = memoryview(data)
        at = 0
        if len(held) < HEADER_SIZE:
            at = HEADER_SIZE - len(held)
            held += view[:at]
            if len(held) < HEADER_SIZE:
                return len(data)
            self._wanted = _frame_size(held, 0, self.limit)
        missing = self._wanted - len(held)
        held += view[at : at + missing]
        if len(held) == self._wanted:
            (checksum,) = _CHECKSUM.unpack_from(held)
            with memoryview(held) as whole:
                checked = bytes(whole[_CHECKSUM.size :])
            frames.append(_checked_frame(checksum, checked))
            self._held = bytearray()  # not clear(): a large buffer is given back
            self._wanted = HEADER_SIZE
        return min(at + missing, len(data))


class Scan(NamedTuple):
    """What `scan` found in a file."""

    frames: list[Frame]
    """The sound frames from the beginning on."""
    end: int
    """Offset behind the last of them; the length of the data if all is sound."""
    fault: str
    """What is wrong at `end`; empty if nothing is."""
    torn: bool
    """The data ends inside the frame at `end`, as after a crash in the middle of an append.  A fault that is not torn
    is damage, and what follows it may have been durable: it must never be cut off silently."""


def read_frame(data: bytes, at: int, limit: int = BODY_BYTES_MAX) -> tuple[Frame, int]:
    """The frame at that offset of a file, and where it ends.  Raises TornFrame if the data ends inside it, and FrameError
    if it is none."""
    left = len(data) - at
    if left < HEADER_SIZE:
        raise TornFrame("the data ends inside a header")
    size = _frame_size(data, at, limit)
    if left < size:
        raise TornFrame(f"the data ends inside a frame of {size} bytes")
    (checksum,) = _CHECKSUM.unpack_from(data, at)
    return _checked_frame(checksum, data[at + _CHECKSUM_SIZE : at + size]), at + size


def scan(data: bytes, limit: int = BODY_BYTES_MAX) -> Scan:
    """Read a file of frames up to its end or to the first thing that is no frame."""
    frames: list[Frame] = []
    at = 0
    while at < len(data):
        try:
            frame, at = read_frame(data, at, limit)
        except FrameError as error:
            return Scan(frames, at, str(error), isinstance(error, TornFrame))
        frames.append(frame)
    return Scan(frames, at, "", False)
