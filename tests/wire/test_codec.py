"""wire.codec: exactly the declared messages pass; everything else is a CodecError."""

import tracemalloc
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.wire.codec import Codec
from phalanx.wire.errors import CodecError


class Batch(msgspec.Struct, tag=1, array_like=True, frozen=True):
    number: Annotated[int, msgspec.Meta(ge=0)]
    payloads: list[bytes]
    note: str = ""


class Tree(msgspec.Struct, tag=2, array_like=True, frozen=True):
    children: list["Tree"] = []


Message = Batch | Tree
CODEC: Codec[Message] = Codec(Message)


@given(st.integers(0, 2**63), st.lists(st.binary(max_size=50)), st.text())
def test_a_message_comes_back_as_it_was(number: int, payloads: list[bytes], note: str) -> None:
    message = Batch(number, payloads, note)
    assert CODEC.decode(CODEC.encode(message)) == message
    assert CODEC.decode(memoryview(b"header" + CODEC.encode(message))[6:]) == message


def test_a_buffer_is_used_again_and_grows_if_need_be() -> None:
    buffer = bytearray(b"head")
    for message in (Batch(1, [b"x" * 1000]), Batch(2, []), Tree([Tree()])):
        CODEC.encode_into(message, buffer, 4)
        assert buffer[:4] == b"head"
        assert CODEC.decode(memoryview(buffer)[4:]) == message


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"\x93\x09\x00\x90", "Invalid value 9"),
        (b"\x93\x01\xff\x90", "Expected `int` >= 0"),
        (b"\x93\x01\xa1a\x90", "Expected `int`, got `str`"),
        (b"\x93\x01\x00\x91\x07", r"Expected `bytes`, got `int` - at `\$\[2\]\[0\]`"),
        (b"\x94\x01\x00\x90\xa2\xff\xff", "utf-8"),
        (b"\x93\x01\x00\x90trailing", "trailing"),
        (b"\x92\x02" + b"\x91\x92\x02" * 100_000 + b"\x90", "recursion|Stack overflow"),
        (b"\x95\x01\x00\x90\xa0" + b"\x91" * 1_000_000, "truncated|recursion|Stack overflow"),
        (msgspec.msgpack.encode({"type": 1, "number": 1}), "Expected `array`, got `object`"),
    ],
)
def test_a_hostile_body_is_refused_with_the_reason(data: bytes, why: str) -> None:
    """SCENARIOS 41: valid frames with hostile fields."""
    with pytest.raises(CodecError, match=why):
        CODEC.decode(data)


@pytest.mark.parametrize("claim", [b"\xdd\xff\xff\xff\xff", b"\xdd\x08\x00\x00\x00", b"\xc6\xff\xff\xff\xff"])
def test_nothing_is_allocated_on_the_strength_of_a_claimed_length(claim: bytes) -> None:
    """SCENARIOS 41: a small frame whose list or string says that it has billions of elements."""
    tracemalloc.start()
    with pytest.raises(CodecError):
        CODEC.decode(b"\x93\x01\x00" + claim + b"\xc4\x01x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@given(st.binary(max_size=200))
def test_random_bytes_decode_to_a_message_or_are_refused(data: bytes) -> None:
    """SCENARIOS 41."""
    try:
        message = CODEC.decode(data)
    except CodecError:
        return
    assert isinstance(message, Batch | Tree)
