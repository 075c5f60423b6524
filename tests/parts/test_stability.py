"""parts.stability against a twin that remembers every row and recomputes everything (DESIGN section 5)."""

import random

from phalanx.parts.stability import Stability


class Ledger:
    """Every receipt and every row, as they came."""

    def __init__(self, size: int, me: int) -> None:
        self.size, self.me = size, me
        self.receipts: list[tuple[int, int, int]] = []
        self.rows: list[tuple[int, int, int, tuple[int, ...]]] = []

    def received(self, author: int) -> int:
        return max((number for a, number, _ in self.receipts if a == author), default=0)

    def shown(self, host: int, author: int) -> int:
        """Highest number of the author that the host is known to have: by its rows; its own by its batches; mine."""
        known = [row[author] for h, _, _, row in self.rows if h == host]
        if host in (author, self.me):
            known.append(self.received(author))
        return max(known, default=0)

    def stable(self, author: int) -> int:
        return min(self.shown(host, author) for host in range(self.size))

    def proven(self, host: int) -> set[int]:
        """Clocks below which the host certainly sends nothing more that is not here."""
        stamps = {stamp for a, _, stamp in self.receipts if a == host}
        return stamps | {clock for h, clock, last, _ in self.rows if h == host and last <= self.received(host)} | {0}


def test_the_matrix_says_what_the_ledger_says() -> None:
    """Each host is played by its rules: it stamps upwards, and its rows claim a clock that its later batches exceed."""
    for seed in range(1_000):
        rng = random.Random(seed)
        size = rng.randint(1, 4)
        me = rng.randrange(-1, size)
        matrix, ledger = Stability(size, me), Ledger(size, me)
        sent = [0] * size
        clock = [0] * size
        batches: list[tuple[int, int, int]] = []
        rows: list[tuple[int, int, int, tuple[int, ...]]] = []
        for _ in range(25):
            host = rng.randrange(size)
            clock[host] += rng.randint(1, 5)
            if rng.random() < 0.4:
                sent[host] += 1
                batches.append((host, sent[host], clock[host]))
            elif host != me:
                rows.append((host, clock[host], sent[host], tuple(rng.randint(0, number) for number in sent)))
            if rng.random() < 0.7 and batches:
                index = rng.randrange(len(batches))
                author, number, stamp = batches[index]
                if number == matrix.received[author] + 1:
                    del batches[index]
                    matrix.receive(author, number, stamp)
                    ledger.receipts.append((author, number, stamp))
            if rng.random() < 0.7 and rows:
                row = rows[rng.randrange(len(rows))]  # late, out of order, and again
                matrix.show(*row)
                ledger.rows.append(row)
            for author in range(size):
                assert matrix.received[author] == ledger.received(author)
                assert matrix.stable(author) == ledger.stable(author), f"seed {seed}"
                assert matrix.clocks[author] in ledger.proven(author), f"seed {seed}"
                in_transit = [stamp for a, _, stamp in batches if a == author]
                assert all(stamp > matrix.clocks[author] for stamp in in_transit), f"seed {seed}: overtaken"
            assert matrix.stable_all() == [ledger.stable(author) for author in range(size)]
            assert matrix.frontier() == min(matrix.clocks)


def test_a_rows_clock_counts_once_the_batches_that_it_names_are_here() -> None:
    """Counter-example 7: a row overtakes data after a reconnection."""
    matrix = Stability(2, 0)
    matrix.show(1, clock=50, last=2, received=(0, 2))
    assert matrix.clocks[1] == 0
    matrix.receive(1, 1, stamp=10)
    assert matrix.clocks[1] == 10
    matrix.receive(1, 2, stamp=20)
    assert matrix.clocks[1] == 50


def test_that_a_host_has_received_something_counts_at_once() -> None:
    matrix = Stability(2, 0)
    matrix.receive(0, 1, stamp=10)
    assert matrix.stable(0) == 0
    matrix.show(1, clock=5, last=7, received=(1, 7))
    assert matrix.stable(0) == 1
