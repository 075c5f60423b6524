"""wire.frame: whatever the network does to the bytes, a frame comes out as it went in, or not at all."""

import random
import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.errors import TooLarge
from phalanx.wire.errors import FrameError
from phalanx.wire.frame import BODY_BYTES_MAX, HEADER_SIZE, FrameDecoder, Kind, encode_frame, scan

BODIES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


def plain(frames: list[tuple[int, memoryview]]) -> list[tuple[int, bytes]]:
    return [(kind, bytes(body)) for kind, body in frames]


def joined(messages: list[tuple[int, bytes]]) -> bytes:
    return b"".join(encode_frame(kind, body) for kind, body in messages)


@given(BODIES, st.lists(st.integers(0, 3000), max_size=12))
def test_frames_survive_being_chopped_anywhere(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """SCENARIOS 27."""
    data = joined(messages)
    decoder = FrameDecoder()
    found = []
    for start, end in pairwise(sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})):
        found += decoder.feed(data[start:end])
    assert plain(found) == messages
    assert decoder.held == 0


def test_frames_survive_coming_byte_by_byte() -> None:
    messages = [(Kind.HELLO, b""), (Kind.MESSAGE, b"abc"), (Kind.MESSAGE, b"x" * 100)]
    decoder = FrameDecoder()
    found = [frame for byte in joined([*messages]) for frame in decoder.feed(bytes([byte]))]
    assert plain(found) == messages


def test_a_frame_of_the_largest_size_passes_and_gives_its_memory_back() -> None:
    body = random.Random(1).randbytes(BODY_BYTES_MAX)
    data = encode_frame(Kind.MESSAGE, body) + encode_frame(Kind.MESSAGE, b"next")
    decoder = FrameDecoder()
    found = [frame for at in range(0, len(data), 1 << 18) for frame in decoder.feed(data[at : at + (1 << 18)])]
    assert plain(found) == [(Kind.MESSAGE, body), (Kind.MESSAGE, b"next")]
    assert decoder.held == 0


def test_a_body_above_the_limit_cannot_be_framed() -> None:
    with pytest.raises(TooLarge, match=str(BODY_BYTES_MAX)):
        encode_frame(Kind.MESSAGE, bytes(BODY_BYTES_MAX + 1))


@pytest.mark.parametrize("length", [1001, BODY_BYTES_MAX + 1, 2**32 - 1])
@pytest.mark.parametrize("first", [1, 5, HEADER_SIZE, HEADER_SIZE + 1])
def test_a_length_above_the_limit_is_refused_before_memory_is_taken_for_it(length: int, first: int) -> None:
    """SCENARIOS 41: frames of 4 GiB."""
    data = struct.pack("<IHBBI", 0, int.from_bytes(b"PX", "little"), 1, Kind.MESSAGE, length) + b"more"
    decoder = FrameDecoder(limit=1000)
    tracemalloc.start()
    with pytest.raises(FrameError, match=f"a frame of {length} bytes; the limit here is 1000"):
        for part in (data[:first], data[first:]):
            decoder.feed(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_memory_grows_with_what_has_come_not_with_what_is_promised() -> None:
    """SCENARIOS 41: a header that promises the largest frame, and then nothing."""
    decoder = FrameDecoder()
    tracemalloc.start()
    decoder.feed(encode_frame(Kind.MESSAGE, bytes(BODY_BYTES_MAX))[:100])
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 10_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a Phalanx frame"),
        (bytes(HEADER_SIZE), "not a Phalanx frame"),
        (struct.pack("<IHBBI", 0, int.from_bytes(b"PX", "little"), 2, 1, 0), "format version 2; this node speaks 1"),
        (struct.pack("<IHBBI", 7, int.from_bytes(b"PX", "little"), 1, 1, 0), "bad checksum"),
    ],
)
def test_what_is_no_frame_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    """SCENARIOS 41."""
    with pytest.raises(FrameError, match=reason):
        FrameDecoder().feed(data)


@given(st.binary(max_size=200), st.data())
def test_an_altered_frame_is_never_taken_for_a_frame(body: bytes, data: st.DataObject) -> None:
    """SCENARIOS 6, 41: whichever bit flips, header included; at worst the decoder waits for bytes that never come."""
    frame = bytearray(encode_frame(Kind.MESSAGE, body))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decoder = FrameDecoder(limit=10_000)
    try:
        assert decoder.feed(bytes(frame)) == []
        assert decoder.feed(bytes(10_000)) == []
    except FrameError:
        pass
    else:
        pytest.fail("the altered length is below the limit, so the zeros must have completed the frame")


@given(st.lists(st.binary(max_size=600), max_size=6))
def test_garbage_is_refused_or_awaited_but_never_becomes_a_frame(reads: list[bytes]) -> None:
    """SCENARIOS 41."""
    decoder = FrameDecoder()
    try:
        assert [frame for read in reads for frame in decoder.feed(read)] == []
    except FrameError:
        pass
    else:
        assert sum(map(len, reads)) < HEADER_SIZE


@given(BODIES, st.data())
def test_a_file_that_ends_inside_a_frame_has_a_torn_tail_there(
    messages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """SCENARIOS 5: torn tail record."""
    whole = joined(messages)
    ends = [len(joined(messages[:n])) for n in range(len(messages) + 1)]
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    assert found.end == max(end for end in ends if end <= cut)
    assert plain(found.frames) == messages[: ends.index(found.end)]
    assert found.torn == (found.end < cut) == bool(found.fault)


def test_damage_inside_a_file_is_not_called_a_torn_tail() -> None:
    """SCENARIOS 6: what follows the damage was durable and must not be cut off."""
    first, second, third = (encode_frame(Kind.RECORD, body) for body in (b"one", b"two", b"three"))
    damaged = bytearray(first + second + third)
    damaged[len(first) + HEADER_SIZE] ^= 1
    found = scan(bytes(damaged))
    assert (plain(found.frames), found.end, found.torn) == ([(Kind.RECORD, b"one")], len(first), False)
    assert "bad checksum" in found.fault
