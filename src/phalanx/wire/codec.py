"""Typed messages to bytes and back: msgpack of a tagged union of frozen structs, by msgspec.

A decoder accepts exactly the types it was made for.  What is too deep, too long, of another type or out of the bounds
that a type declares is a `CodecError`; nothing is allocated on the strength of a length that a message merely claims.
"""

from typing import Any, Generic, TypeVar, cast

import msgspec

from phalanx.wire.errors import CodecError

T = TypeVar("T")


class Codec(Generic[T]):
    """Encoder and decoder of one type, which may be a union of tagged structs.

    >>> class Ping(msgspec.Struct, tag=1, array_like=True, frozen=True):
    ...     number: int
    >>> class Pong(msgspec.Struct, tag=2, array_like=True, frozen=True):
    ...     number: int
    >>> codec: Codec[Ping | Pong] = Codec(Ping | Pong)
    >>> codec.decode(codec.encode(Pong(7)))
    Pong(number=7)
    """

    __slots__ = ("_decode", "encode", "encode_into")

    def __init__(self, types: Any) -> None:
        encoder = msgspec.msgpack.Encoder()
        self.encode = encoder.encode
        """`encode(message) -> bytes`."""
        self.encode_into = encoder.encode_into
        """`encode_into(message, buffer, offset)`: write to a bytearray that is used again and again; it grows if need
        be and is cut off behind the message."""
        self._decode = msgspec.msgpack.Decoder(types).decode

    def decode(self, data: bytes | memoryview) -> T:
        """The message that is encoded there.  Raises CodecError."""
        try:
            return cast(T, self._decode(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            raise CodecError(f"not a message of this protocol: {error}") from None
