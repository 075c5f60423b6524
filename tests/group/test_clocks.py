"""Clocks that are wrong, and time that is ahead of them, are noted when that begins and when it ends (SCENARIOS 26)."""

from collections import Counter

import pytest

from phalanx.group.messages import Row
from phalanx.model.clock import MILLISECOND, SECOND, wall_ms
from phalanx.model.view import GroupSpec, Name, Order
from phalanx.sim.clocks import EPOCH_NS
from phalanx.sim.conditions import Conditions
from tests.group.cluster import Cluster

NEAR = Conditions(delay_min_ns=MILLISECOND)

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


def test_that_time_is_right_again_is_noted_though_one_clock_stays_ahead_and_a_link_is_slow() -> None:
    """That one stamps at the bound, as it knows the median; who hears the others later takes that for beyond it."""
    with Cluster("abc", conditions=NEAR) as cluster:
        cluster.until_members("abc")
        nodes = cluster.world.nodes
        put(cluster, "abc", 12 * SECOND)
        cluster.run(0.2)
        put(cluster, "b", 120 * MILLISECOND)
        put(cluster, "c", 0)
        cluster.world.network.slow_down(nodes["b"], nodes["c"], 100 * MILLISECOND)
        cluster.run(60.0)
        assert told(cluster) == [1, 0, 3, 3]
        assert 20 * MILLISECOND < cluster.machine("c").time_lead < 120 * MILLISECOND


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


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_what_one_stamped_while_all_clocks_were_ahead_is_taken_by_who_heard_nothing_of_it(names: str) -> None:
    """SCENARIOS 26.  It was refused until the clocks had come to that time, and the group of two stood still."""
    with Cluster(names, conditions=NEAR) as cluster:
        cluster.until_members(names)
        cluster.run(1.0)
        deaf = cluster.drop(Row, target="b")
        put(cluster, names, 3_600 * SECOND)
        cluster.run(0.2)
        put(cluster, names, 0)
        deaf.lift()
        cluster.run(0.1)
        assert [round(lead, -2) for lead in ahead(cluster, "ab")] == [3_600, 0]
        sent = [cluster.send(name, f"{name}{number}") for number in range(3) for name in names]
        cluster.until_all_deliver(names, *sent, within=3.0)
        assert cluster.world.notes["clock.refused"] and min(ahead(cluster, names)) > 3_500


def ahead(cluster: Cluster, names: str) -> list[float]:
    """How many seconds each node's stamps are ahead of the right time."""
    right = EPOCH_NS + cluster.world.now
    return [(wall_ms(cluster.machine(name)._core.clock.now) * MILLISECOND - right) / SECOND for name in names]


@pytest.mark.parametrize(("founders", "late", "wrong"), [("a", "b", "b"), ("abc", "d", "cd"), ("abcde", "fg", "dfg")])
def test_joiners_whose_clocks_are_ahead_as_those_of_half_the_others_move_no_time_and_are_not_refused(
    founders: str, late: str, wrong: str
) -> None:
    """SCENARIOS 26.  Counter-example 11: a learner took its own clock for one of the members'; when it was a member it
    moved the time of all, or all refused what it said until they had come to that time, and the group stood still."""
    for seed in range(5):
        with Cluster(founders + late, founders=founders, late=late, seed=seed, conditions=NEAR) as cluster:
            cluster.until_members(founders)
            put(cluster, wrong, 3_600 * SECOND)
            cluster.run(1.0)
            cluster.restart(*late)
            cluster.until_members(founders + late)
            sent = [cluster.send(name, f"{name}{number}") for number in range(3) for name in founders + late]
            cluster.until_all_deliver(founders + late, *sent)
            assert max(ahead(cluster, founders + late)) < 0.6
            assert not cluster.world.notes["time.ahead"]


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
def test_who_restarts_at_once_with_a_clock_that_is_ahead_does_not_vote_for_that_time(names: str) -> None:
    """SCENARIOS 26.  It hears members of the view that it votes in before it is in one itself."""
    for name in names:
        with Cluster(names, conditions=NEAR) as cluster:
            cluster.until_members(names)
            cluster.send("a", "before")
            cluster.until_all_deliver(names, "before")
            put(cluster, name, 3_600 * SECOND)
            cluster.crash(name)
            cluster.restart(name)
            cluster.run(1.0)
            cluster.until_members(names)
            assert max(ahead(cluster, names)) < 0.6
