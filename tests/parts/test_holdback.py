"""parts.holdback against twins that look at all batches for the next that the definition allows (DESIGN section 5)."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from phalanx.model.view import Order
from phalanx.parts.holdback import Holdback, holdback


class Sent(NamedTuple):
    author: int
    number: int
    stamp: int
    after: tuple[int, ...]


May = Callable[[Sent], bool] | None


class Twin:
    """A bag of received batches; takes one after the other, looking at all."""

    def __init__(self, order: Order, size: int) -> None:
        self.order = order
        self.bag: list[Sent] = []
        self.delivered = [0] * size

    def _is_next(self, batch: Sent) -> bool:
        if batch.number != self.delivered[batch.author] + 1:
            return False
        if self.order is Order.TOTAL:
            return (batch.stamp, batch.author) == min((b.stamp, b.author) for b in self.bag)
        if self.order is Order.CAUSAL:
            return all(a == batch.author or self.delivered[a] >= need for a, need in enumerate(batch.after))
        return True

    def take(self, allowed: Callable[[Sent], bool]) -> set[Sent]:
        taken = set()
        while batch := next((b for b in self.bag if self._is_next(b) and allowed(b)), None):
            self.bag.remove(batch)
            self.delivered[batch.author] = batch.number
            taken.add(batch)
        return taken


def draw_history(rng: random.Random, size: int) -> list[Sent]:
    """Batches as hosts send them that have delivered some of what was sent before: causality is in `after` and in the
    stamps."""
    sent: list[Sent] = []
    numbers = [0] * size
    clocks = [0] * size
    seen = [[0] * size for _ in range(size)]
    for _ in range(rng.randint(1, 14)):
        author = rng.randrange(size)
        for batch in sent:
            due = all(seen[author][a] >= n for a, n in enumerate(batch.after) if a != batch.author)
            if due and batch.number == seen[author][batch.author] + 1 and rng.random() < 0.5:
                seen[author][batch.author] = batch.number
                clocks[author] = max(clocks[author], batch.stamp)
        clocks[author] += rng.randint(1, 3)
        numbers[author] += 1
        sent.append(Sent(author, numbers[author], clocks[author], tuple(seen[author])))
        seen[author][author] = numbers[author]
    return sent


def check_sequence(order: Order, taken: Sequence[Sent]) -> None:
    """What any observer demands of one sequence: FIFO, and the order's own promise."""
    last: dict[int, int] = {}
    for batch in taken:
        assert batch.number == last.get(batch.author, batch.number - 1) + 1
        last[batch.author] = batch.number
    if order is Order.TOTAL:
        assert list(taken) == sorted(taken, key=lambda b: (b.stamp, b.author))


@pytest.mark.parametrize("order", list(Order))
def test_what_may_be_delivered_is_what_the_definition_allows(order: Order) -> None:
    """Arrivals in any order that keeps each author's; stability, frontier and the further condition drawn anew."""
    for seed in range(1_200):
        rng = random.Random(f"{order}/{seed}")
        size = rng.randint(1, 4)
        coming = draw_history(rng, size)
        queue: Holdback[Sent] = holdback(order, size)
        twin = Twin(order, size)
        received = [0] * size
        frontier = 0
        everything: list[Sent] = []
        while coming:
            index = rng.randrange(len(coming))
            batch = coming[index]
            if batch.number == received[batch.author] + 1:
                del coming[index]
                received[batch.author] = batch.number
                queue.add(batch)
                twin.bag.append(batch)
            if order is Order.TOTAL:  # nothing at or below the frontier is still on its way
                frontier = max(frontier, min([b.stamp - 1 for b in coming], default=10**6))
            stable = [rng.randint(0, number) for number in received]
            refused = rng.randrange(5)

            def odd(b: Sent, refused: int = refused) -> bool:
                return b.stamp % 5 != refused

            may = odd if rng.random() < 0.4 else None
            taken = queue.ready(stable, frontier, may)
            check_sequence(order, taken)

            def allowed(b: Sent, stable: list[int] = stable, frontier: int = frontier, may: May = may) -> bool:
                late = order is Order.TOTAL and b.stamp > frontier
                return b.number <= stable[b.author] and not late and (may is None or may(b))

            assert set(taken) == twin.take(allowed), f"seed {seed}"
            assert queue.delivered == twin.delivered
            everything += taken
        check_sequence(order, everything)


@pytest.mark.parametrize("order", list(Order))
def test_the_rest_of_a_cut_is_all_of_it_except_what_depends_on_something_outside(order: Order) -> None:
    """DESIGN section 6, step 5; counter-example 14."""
    for seed in range(1_200):
        rng = random.Random(f"rest {order}/{seed}")
        size = rng.randint(1, 4)
        sent = draw_history(rng, size)
        queue: Holdback[Sent] = holdback(order, size)
        twin = Twin(order, size)
        for batch in sent:
            queue.add(batch)
            twin.bag.append(batch)
        cut = [rng.randint(0, max((b.number for b in sent if b.author == a), default=0)) for a in range(size)]
        rest = queue.rest(cut)
        check_sequence(order, rest)
        inside = [b for b in twin.bag if b.number <= cut[b.author]]
        if order is Order.CAUSAL:
            assert set(rest) == twin.take(lambda b, cut=cut: b.number <= cut[b.author]), f"seed {seed}"  # type: ignore[misc]  # bound early
        else:
            assert sorted(rest) == sorted(inside), f"seed {seed}"
            assert queue.delivered == cut


@pytest.mark.parametrize("order", list(Order))
def test_what_a_snapshot_covers_is_skipped(order: Order) -> None:
    queue: Holdback[Sent] = holdback(order, 2)
    for number in range(1, 5):
        queue.add(Sent(0, number, number, (0, 0)))
    queue.skip_to(0, 2)
    queue.skip_to(1, 3)
    queue.add(Sent(1, 4, 9, (4, 3)))
    assert [(b.author, b.number) for b in queue.ready([9, 9], 100, None)] == [(0, 3), (0, 4), (1, 4)]
    queue.skip_to(0, 1)
    assert queue.delivered == [4, 4], "a skip goes forward only"


def test_equal_stamps_are_ordered_by_rank() -> None:
    queue: Holdback[Sent] = holdback(Order.TOTAL, 3)
    for author in (2, 0, 1):
        queue.add(Sent(author, 1, 7, ()))
    assert [b.author for b in queue.ready([1, 1, 1], 7, None)] == [0, 1, 2]


def test_the_least_stamp_holds_up_what_is_stable_behind_it() -> None:
    """Total order waits for the first, not for the first that is stable."""
    queue: Holdback[Sent] = holdback(Order.TOTAL, 2)
    queue.add(Sent(0, 1, 1, ()))
    queue.add(Sent(1, 1, 2, ()))
    assert queue.ready([0, 1], 10, None) == []
    assert len(queue.ready([1, 1], 10, None)) == 2
