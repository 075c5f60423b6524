"""Bytes that come a little at a time and are read by offset: a snapshot that is being made, or has been fetched.

It is kept in pieces of one size, so that nothing that is large is ever copied as a whole, and hashed as it grows.  What
an application says in parts is put in as *frames*, each behind its length, and taken out one by one.
"""

import hashlib

DIGEST_BYTES = 16
_LENGTH = 4


def framed(data: bytes) -> bytes:
    """The data behind its length, which is below 4 GiB."""
    return len(data).to_bytes(_LENGTH, "big") + data


class Spool:
    """See the module's text."""

    __slots__ = ("_hash", "_last", "_pieces", "_start", "piece")

    def __init__(self, piece: int) -> None:
        """`piece`: how many bytes are kept together."""
        self.piece = piece
        self._pieces: list[bytes] = []
        self._last = bytearray()
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._start = 0

    def __len__(self) -> int:
        """How many bytes there have been, with those that were dropped."""
        return len(self._pieces) * self.piece + len(self._last)

    @property
    def digest(self) -> bytes:
        """Of all there has been so far."""
        return self._hash.digest()

    def append(self, data: bytes) -> None:
        """More bytes at the end."""
        self._hash.update(data)
        last = self._last
        last += data
        whole = len(last) // self.piece * self.piece
        for at in range(0, whole, self.piece):
            self._pieces.append(bytes(last[at : at + self.piece]))
        del last[:whole]

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from there on, less at the end.  They must not have been dropped."""
        assert offset >= self._start * self.piece, "it was dropped"
        first, skip = divmod(offset, self.piece)
        found = bytearray()
        for number in range(first, min(len(self._pieces), (offset + size - 1) // self.piece) + 1):
            found += self._pieces[number] if number < len(self._pieces) else self._last
        return bytes(found[skip : skip + size])

    def frame(self, offset: int) -> bytes | None:
        """The data of the frame that begins there; None if not all of it is here.  See `frame_end`."""
        end = self.next_frame(offset)
        return self.read(offset + _LENGTH, end - offset - _LENGTH) if end is not None else None

    def next_frame(self, offset: int) -> int | None:
        """Where the frame that begins there ends; None if not all of it is here."""
        head = self.read(offset, _LENGTH)
        end = offset + _LENGTH + int.from_bytes(head, "big")
        return end if len(head) == _LENGTH and end <= len(self) else None

    def drop(self, offset: int) -> None:
        """What is before that is not read any more."""
        upto = min(offset // self.piece, len(self._pieces))
        for number in range(self._start, upto):
            self._pieces[number] = b""
        self._start = max(self._start, upto)


def frame_end(offset: int, data: bytes) -> int:
    """Where the frame with that data ends, if it began at `offset`."""
    return offset + _LENGTH + len(data)
