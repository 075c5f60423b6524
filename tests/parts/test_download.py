"""parts.download against a slow twin that marks every byte (DESIGN section 8: a snapshot comes in pieces)."""

import random

import pytest

from phalanx.parts.download import Download

AGAIN = 10


class Twin:
    """What is here, byte by byte, and when each piece was last asked for."""

    def __init__(self, content: bytes, piece: int, window: int) -> None:
        self.content, self.piece, self.window = content, piece, window
        self.here = [False] * len(content)
        self.started = False
        self.asked: dict[int, int] = {}

    def take(self, offset: int, data: bytes) -> bool:
        new = not self.started or (bool(data) and not self.here[offset])
        self.started = True
        self.here[offset : offset + len(data)] = [True] * len(data)
        if new:
            self.asked.pop(offset, None)
        return new

    @property
    def size(self) -> int:
        return next((i for i, here in enumerate(self.here) if not here), len(self.here))

    def to_ask(self, now: int) -> list[int]:
        starts = range(0, len(self.content), self.piece) if self.started else range(1)
        missing = [start for start in starts if not self.started or not self.here[start]][: self.window]
        due = [start for start in missing if start not in self.asked or now - self.asked[start] >= AGAIN]
        self.asked.update(dict.fromkeys(due, now))
        return due


def test_pieces_in_any_order_lost_or_doubled_make_the_content() -> None:
    for seed in range(2_000):
        rng = random.Random(seed)
        content, piece, window = rng.randbytes(rng.choice((0, 1, 7, 40))), rng.randint(1, 9), rng.randint(1, 4)
        download, twin = Download(piece, window), Twin(content, piece, window)
        under_way: list[int] = []
        got: list[bytes] = []
        now = 0
        while not download.complete:
            assert now < 10_000, f"seed {seed}: it does not end"
            now += rng.randint(0, 4)
            asked = download.to_ask(now, AGAIN)
            assert asked == twin.to_ask(now), f"seed {seed}"
            assert download.due(AGAIN) == min((at + AGAIN for at in twin.asked.values()), default=None)
            under_way += [offset for offset in asked if rng.random() < 0.8]
            if rng.random() < 0.05:
                download.ask_again()
                twin.asked.clear()
            for _ in range(rng.randint(0, len(under_way))):
                offset = rng.choice(under_way)
                if rng.random() < 0.8:
                    under_way.remove(offset)
                data = content[offset : offset + piece]
                assert download.take(offset, len(content), data) == twin.take(offset, data), f"seed {seed}"
                assert (download.size, download.total) == (twin.size, len(content)), f"seed {seed}"
            got += download.drain() if rng.random() < 0.5 else []
        got += download.drain()
        assert b"".join(got) == content, f"seed {seed}"
        assert download.to_ask(now + AGAIN, AGAIN) == [], "nothing is missing"


def test_until_the_total_is_known_only_the_beginning_is_asked_for() -> None:
    download = Download(piece=4, window=3)
    assert download.to_ask(0, AGAIN) == [0]
    assert download.take(0, 30, b"aaaa")
    assert download.to_ask(0, AGAIN) == [4, 8, 12], "and then a window of pieces"


@pytest.mark.parametrize(
    ("offset", "total", "data"),
    [(0, 10, b"aaaa"), (4, 11, b"bbbb"), (8, 10, b"ccc"), (4, 10, b"")],
    ids=["again", "of something else", "past the end", "empty"],
)
def test_a_piece_that_cannot_belong_to_it_changes_nothing(offset: int, total: int, data: bytes) -> None:
    download = Download(piece=4, window=3)
    assert download.take(0, 10, b"aaaa")
    assert not download.take(offset, total, data)
    assert (download.size, download.total, download.complete) == (4, 10, False)
    assert download.take(8, 10, b"cc") and download.take(4, 10, b"bbbb")
    assert download.complete and b"".join(download.drain()) == b"aaaabbbbcc"


def test_what_has_come_is_handed_out_once_as_far_as_there_is_no_gap() -> None:
    download = Download(piece=4, window=3)
    assert download.take(0, 10, b"aaaa") and download.take(8, 10, b"cc")
    assert (download.drain(), download.drain()) == ([b"aaaa"], [])
    assert download.take(4, 10, b"bbbb")
    assert download.drain() == [b"bbbb", b"cc"]


def test_pieces_of_one_who_cuts_them_larger_may_overlap() -> None:
    download = Download(piece=2, window=9)
    assert download.take(2, 8, b"cdef") and download.take(4, 8, b"ef") and download.take(0, 8, b"abcd")
    assert download.drain() == [b"abcd", b"ef"]
    assert download.take(6, 8, b"gh")
    assert download.complete and download.drain() == [b"gh"]
