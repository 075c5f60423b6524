"""parts.retained against a twin that forgets nothing and looks everything up (DESIGN section 8: only the suffix)."""

import random

from phalanx.parts.retained import ENDS_KEPT, Retained

HOSTS = 3


class Twin:
    """Everything that ever happened."""

    def __init__(self) -> None:
        self.items: list[tuple[int, int, int, int]] = []
        self.ends: dict[int, tuple[int, ...]] = {}

    def lacking(self, view: int, received: list[int]) -> list[tuple[int, int, int]]:
        return [(v, a, n) for v, a, n, _ in self.items if v > view or (v == view and n > received[a])]


def test_it_gives_all_that_somebody_lacks_or_nothing() -> None:
    """And it gives it whenever what is lacking is within the limit."""
    given = refused = 0
    for seed in range(500):
        rng = random.Random(seed)
        limit = rng.choice((10, 40, 200))
        retained: Retained[tuple[int, int, int]] = Retained(limit)
        retained.restart(1, (0,) * HOSTS)
        twin, view, numbers = Twin(), 1, [0] * HOSTS
        for _ in range(rng.randrange(60)):
            if rng.random() < 0.2:
                retained.ended(view, numbers)
                twin.ends[view] = tuple(numbers)
                view, numbers = view + rng.choice((1, 1, 3)), [0] * HOSTS
            else:
                author, size = rng.randrange(HOSTS), rng.choice((1, 5, 30))
                numbers[author] += 1
                retained.add(view, author, numbers[author], size, (view, author, numbers[author]))
                twin.items.append((view, author, numbers[author], size))
        assert retained.size <= limit
        for of, upto in [*twin.ends.items(), (view, tuple(numbers)), (view + 1, (0,) * HOSTS)]:
            received = [max(0, number + rng.randint(-3, 2)) for number in upto]
            since = retained.since(of, received)
            lacking = twin.lacking(of, received)
            kept = sum(size for _, _, _, size in twin.items[len(twin.items) - _span(twin, lacking) :])
            if since is None:
                refused += 1
                assert of not in twin.ends or kept > limit, f"seed {seed}"
            else:
                given += 1
                assert since.upto == twin.ends[of], f"seed {seed}"
                assert since.items == lacking, f"seed {seed}"
                assert since.ends == [(v, cut) for v, cut in twin.ends.items() if v > of], f"seed {seed}"
    assert given > 500
    assert refused > 500


def _span(twin: Twin, lacking: list[tuple[int, int, int]]) -> int:
    """How many of the last items go back to the first that is lacking."""
    places = [i for i, (v, a, n, _) in enumerate(twin.items) if (v, a, n) in lacking]
    return len(twin.items) - min(places, default=len(twin.items))


def test_what_came_in_another_way_is_not_here() -> None:
    retained: Retained[str] = Retained(100)
    retained.add(1, 0, 1, 1, "lost sight of")
    retained.restart(2, (3, 0))
    retained.add(2, 0, 4, 1, "four")
    retained.ended(2, (4, 0))
    assert retained.since(1, (0, 0)) is None
    assert retained.since(2, (2, 0)) is None
    found = retained.since(2, (3, 0))
    assert found is not None
    assert found.items == ["four"]


def test_only_so_many_views_are_remembered() -> None:
    retained: Retained[str] = Retained(100)
    retained.restart(1, (0,))
    for view in range(1, ENDS_KEPT + 10):
        retained.add(view, 0, 1, 0, f"of {view}")
        retained.ended(view, (1,))
    assert retained.since(9, (0,)) is None
    found = retained.since(10, (0,))
    assert found is not None
    assert len(found.items) == ENDS_KEPT
