"""Clocks that are wrong, and time that is ahead of them, are noted when that begins and when it ends (SCENARIOS 26)."""

from collections import Counter

import pytest

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.view import GroupSpec, Name, Order
from tests.group.cluster import Cluster

TOLD = ("clock.wrong", "clock.right", "time.ahead", "time.right")


def put(cluster: Cluster, names: str, offset_ns: int) -> None:
    for name in names:
        cluster.world.nodes[name].clocks.offset_ns = offset_ns


def told(cluster: Cluster) -> list[int]:
    return [cluster.world.notes[what] for what in TOLD]


def test_who_is_further_from_the_median_than_the_bound_notes_it_and_that_it_is_right_again() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.run(0.2)
        for offset in (400 * MILLISECOND, 0, 3_600 * SECOND, 400 * MILLISECOND, 0):
            put(cluster, "b", offset)
            cluster.run(1.0)
            expected = 0 if offset < SECOND else 3_600 * SECOND
            if expected or not offset:
                off = {name: cluster.machine(name).clock_error for name in "abc"}
                assert [round(off[name], -8) for name in "abc"] == [0, expected, 0]
        assert told(cluster) == [1, 1, 0, 0]
        put(cluster, "c", -3_600 * SECOND)
        cluster.run(1.0)
        assert told(cluster) == [2, 1, 0, 0]


def test_a_clock_at_the_bound_is_not_noted_again_and_again() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        for number in range(10):
            put(cluster, "b", (520 - number % 2 * 40) * MILLISECOND)
            cluster.run(1.0)
        assert told(cluster) == [1, 0, 0, 0]


@pytest.mark.parametrize("names", ["a", "abc"])
def test_time_that_is_ahead_is_noted_by_all_until_the_clocks_have_caught_up(names: str) -> None:
    def lead(name: Name) -> float:
        return cluster.machine(name).time_lead / SECOND

    with Cluster(names) as cluster:
        cluster.until_members(names)
        put(cluster, names, 12 * SECOND)
        cluster.run(0.2)
        cluster.send("a", "from the future")
        cluster.until_all_deliver(names, "from the future")
        assert told(cluster) == [0, 0, 0, 0] and not any(map(lead, names)), "nobody can know"
        put(cluster, names, 0)
        counts: Counter[str] = Counter()
        for number in range(22):
            counts[cluster.send("a", f"m{number}")] += 1
            cluster.run(1.0)
            expected = 11.5 - 0.5 * (number + 1)
            assert all(abs(lead(name) - expected) < 0.3 for name in names), number
        assert told(cluster) == [0, 0, len(names), 0]
        cluster.send("a", "later")
        cluster.run(2.0)
        cluster.send("a", "at last")
        cluster.run(1.0)
        assert told(cluster) == [0, 0, len(names), len(names)] and not any(map(lead, names))
        cluster.until_all_deliver(names, *counts, "later", "at last")


def test_the_few_seconds_that_a_restart_of_all_puts_time_ahead_are_no_matter_of_clocks() -> None:
    """Each begins above the ceiling in its log."""
    with Cluster("abc", GroupSpec("g", Order.TOTAL, durable=True)) as cluster:
        cluster.until_members("abc")
        for number in range(3):
            cluster.send("a", f"before {number}")
            cluster.until_all_deliver("abc", f"before {number}")
            cluster.crash(*"abc", host=True)
            cluster.restart(*"abc")
            cluster.until_members("abc")
            cluster.send("a", f"after {number}")
            cluster.until_all_deliver("abc", f"after {number}")
            assert SECOND < cluster.machine("a").time_lead < 10 * SECOND
            cluster.run(10.0)
            cluster.send("a", f"later {number}")
            cluster.until_all_deliver("abc", f"later {number}")
            assert cluster.machine("a").time_lead == 0
        assert told(cluster) == [0, 0, 0, 0]
