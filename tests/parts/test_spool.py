"""parts.spool against a slow twin that keeps one string of bytes."""

import hashlib
import random

import pytest

from phalanx.parts.spool import DIGEST_BYTES, Spool, frame_end, framed


def test_what_goes_in_in_any_pieces_comes_out_at_any_offset() -> None:
    for seed in range(1_000):
        rng = random.Random(seed)
        spool, twin, dropped = Spool(rng.randint(1, 9)), b"", 0
        for _ in range(rng.randint(1, 12)):
            data = rng.randbytes(rng.choice((0, 1, 5, 30)))
            spool.append(data)
            twin += data
            assert len(spool) == len(twin)
            assert spool.digest == hashlib.blake2b(twin, digest_size=DIGEST_BYTES).digest()
            for _ in range(4):
                offset, size = rng.randint(dropped, len(twin) + 3), rng.randint(0, 20)
                assert spool.read(offset, size) == twin[offset : offset + size], f"seed {seed}"
            if rng.random() < 0.2:
                dropped = rng.randint(dropped, len(twin))
                spool.drop(dropped)


def test_frames_come_out_as_they_went_in_once_they_are_whole() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        frames = [rng.randbytes(rng.choice((0, 1, 7, 40))) for _ in range(rng.randint(1, 6))]
        content = b"".join(map(framed, frames))
        spool, offset, found = Spool(rng.randint(1, 9)), 0, list[bytes]()
        for start in range(0, len(content), 3):
            spool.append(content[start : start + 3])
            while (data := spool.frame(offset)) is not None:
                found.append(data)
                offset = frame_end(offset, data)
                spool.drop(offset)
        assert found == frames, f"seed {seed}"


def test_what_was_dropped_is_not_read() -> None:
    spool = Spool(2)
    spool.append(b"abcdef")
    spool.drop(5)
    assert spool.read(4, 2) == b"ef"
    with pytest.raises(AssertionError, match="dropped"):
        spool.read(3, 1)
