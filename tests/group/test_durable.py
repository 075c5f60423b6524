"""Durable groups: what was delivered anywhere survives everybody (DESIGN sections 5, 6, 8; SCENARIOS 1, 3 to 7, 9, 20).

Each schedule goes well, and goes wrong with the rule taken out that it is about (see `test_counterexamples`).
"""

import random
from itertools import pairwise

import pytest

from phalanx.group.config import Config
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Chunk, Commit, Data
from phalanx.model.clock import MILLISECOND, SECOND, Instant, stamp_of
from phalanx.model.events import Delivered, Founded, GroupSuspended, Host, HostRefused, Installed, Restored
from phalanx.model.view import GroupSpec, Order
from phalanx.sim.clocks import EPOCH_NS
from tests.group.cluster import Cluster
from tests.group.durables import STALLED_NS, D, cluster_of, power_cut, sent, suspended
from tests.group.rules import shown


def sends_on_stalled_disks(cluster: Cluster, names: str, payload: str) -> bool:
    """a sends while these disks do not get anywhere; then their power is cut.  Whether anybody delivered it."""
    nodes = [cluster.world.nodes[name] for name in names]
    written = [len(node.log) for node in nodes]
    for node in nodes:
        node.disk_extra_ns = STALLED_NS
    cluster.send("a", payload)
    cluster.run(0.05)
    delivered = any(payload in cluster.deliveries(name) for name in cluster.names)
    power_cut(cluster, names)
    for node, count in zip(nodes, written, strict=True):
        node.disk_extra_ns = 0
        del node.log[count:]
        node.cuts.clear()
    return delivered


# --- receipt ----------------------------------------------------------------------------------------------------------


def test_nothing_is_delivered_before_it_is_on_every_hosts_disk() -> None:
    """SCENARIOS 3: a disk that stalls holds back the deliveries of durable groups, of everybody; not those of others."""
    memory = GroupSpec("m")
    with Cluster("abc", D, memory) as cluster:
        cluster.until_members("abc")
        cluster.run(1)
        cluster.world.nodes["b"].disk_extra_ns = STALLED_NS
        cluster.send("a", "slow")
        cluster.send("a", "quick", group="m")
        cluster.run(0.1)
        assert cluster.deliveries("c", "m") == ["quick"]
        assert not any(cluster.deliveries(name) for name in "abc")


def test_what_was_acknowledged_is_there_after_a_power_cut_of_all_hosts() -> None:
    """SCENARIOS 1, 3: the moment after the acknowledgement, with disks that are slow to sync."""

    def schedule() -> None:
        with Cluster("abc", D) as cluster:
            cluster.until_members("abc")
            sent(cluster, "a", "one")
            cluster.run(1)
            acknowledged = sends_on_stalled_disks(cluster, "abc", "two")
            cluster.restart(*"abc")
            cluster.converge("abc")
            assert cluster.deliveries("b")[0] == "one"
            assert not acknowledged or "two" in cluster.deliveries("b"), "acknowledged and lost"

    shown(schedule, "a receipt is shown before it is on disk", wrong="acknowledged and lost")


def test_a_batch_does_not_say_that_its_author_has_it_on_disk() -> None:
    """The author's disk is the slowest, and it comes back alone, being half of the members and the eldest."""

    def schedule() -> None:
        with Cluster("ab", D) as cluster:
            cluster.until_members("ab")
            cluster.run(1)
            acknowledged = sends_on_stalled_disks(cluster, "a", "m")
            power_cut(cluster, "b")
            cluster.restart("a")
            cluster.until_members("a")
            assert not acknowledged or cluster.deliveries("a") == ["m"], "acknowledged and lost"

    shown(schedule, "a batch shows that its author has it on disk", wrong="acknowledged and lost")


@pytest.mark.parametrize("order", list(Order))
def test_a_durable_group_of_any_order_survives_power_cuts_again_and_again(order: Order) -> None:
    """SCENARIOS 1."""
    with cluster_of("abc", spec=GroupSpec("g", order, durable=True)) as cluster:
        for life in range(4):
            cluster.until_members("abc")
            sent(cluster, "a", f"a{life}")
            sent(cluster, "c", f"c{life}")
            power_cut(cluster, "abc")
            cluster.restart(*"abc")
        cluster.converge("abc")
        assert {f"{who}{life}" for who in "ac" for life in range(4)} <= set(cluster.deliveries("b"))
        assert cluster.log("a", Founded)[0].replayed


def test_messages_that_nobody_had_delivered_are_kept_if_any_disk_has_them() -> None:
    """DESIGN section 6: the cut of a total restart is the maximum, fetched first."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        cluster.drop(Data, source="a", target="c")
        cluster.send("a", "m")
        cluster.run(0.02)
        assert not cluster.deliveries("a")
        power_cut(cluster, "abc")
        cluster.restart(*"abc")
        cluster.until_members("abc")
        assert [cluster.deliveries(name) for name in "abc"] == [["m"]] * 3


def test_a_group_sends_nothing_while_it_has_fewer_hosts_than_it_wants_copies() -> None:
    def schedule() -> None:
        with cluster_of("abc", "ab", GroupSpec("g", durable=True, min_copies=2)) as cluster:
            cluster.until_members("abc")
            cluster.crash("b")
            cluster.until_members("ac", groups=False)
            cluster.send("a", "m")
            cluster.run(1)
            assert not cluster.deliveries("a"), "one copy is not two"
            cluster.restart("b")
            cluster.converge("abc")
            assert "m" in cluster.deliveries("b")

    shown(schedule, "a group sends with any number of copies", wrong="one copy is not two")


# --- one node ---------------------------------------------------------------------------------------------------------


def test_a_node_that_is_back_before_the_others_noticed_needs_no_transfer() -> None:
    """It votes for its former incarnation, its log holds the cut, and it goes on from there."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "one", "two")
        cluster.run(0.2)
        cluster.crash("c")
        cluster.restart("c")
        cluster.converge("abc")
        assert not cluster.log("c", Restored)
        assert cluster.deliveries("c")[:2] == ["one", "two"]


def test_the_log_may_know_of_a_view_that_the_votes_do_not() -> None:
    """SCENARIOS 4: the log is written before the votes, so a power cut between the two leaves them behind."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        before = cluster.world.nodes["b"].durable
        cluster.crash("c", host=True)
        cluster.until_members("ab")
        sent(cluster, "a", "m")
        power_cut(cluster, "ab")
        cluster.world.nodes["b"].durable = before
        cluster.restart(*"abc")
        cluster.converge("abc")
        assert "m" in cluster.deliveries("b")
        assert cluster.world.notes["votes.behind"] > 0


def test_a_node_without_a_log_cannot_host_a_durable_group() -> None:
    with pytest.raises(ValueError, match="without a log"):
        GroupMachine(Config("a", "a", hosts=(D,)), None, random.Random(1), Instant(1, 1))
    machine = GroupMachine(Config("a", "a", peers=(("a", "a"),)), None, random.Random(1), Instant(1, 1))
    (refused,) = [d for d in machine.step([Host(D)], Instant(2, 2)).deliveries if isinstance(d, HostRefused)]
    assert refused.reason == "this node keeps no log for durable groups"


# --- suspended groups ---------------------------------------------------------------------------------------------------


def test_3_a_group_none_of_whose_hosts_answered_waits_for_one_of_them() -> None:
    """Counter-example 3: "nothing" is not its cut, and nobody else founds another one of its name."""

    def schedule() -> None:
        with cluster_of("abcde", "cd") as cluster:
            cluster.until_members("abcde")
            sent(cluster, "c", "m")
            power_cut(cluster, "cd")
            cluster.until_members("abe", groups=False)
            assert suspended(cluster, "a") == "cd", "it is not forgotten"
            cluster.restart("d")
            cluster.until_members("abed", groups=False)
            cluster.until(lambda: cluster.deliveries("d") == ["m"], "the group")
            cluster.restart("c")
            cluster.converge("abcde")
            assert "m" in cluster.deliveries("c")

    shown(schedule, "a group that nobody can go on with is given up", wrong="it is not forgotten")
    shown(schedule, "a group that goes on from logs is truncated", wrong="durability|the group did not come|assert")


def test_a_suspended_group_is_carried_through_views_and_power_cuts_of_the_others() -> None:
    with cluster_of("abcd", "d") as cluster:
        cluster.until_members("abcd")
        sent(cluster, "d", "m")
        power_cut(cluster, "d")
        cluster.until_members("abc", groups=False)
        power_cut(cluster, "abc")
        cluster.restart(*"abc")
        cluster.until_members("abc", groups=False)
        cluster.crash("a")
        cluster.until_members("bc", groups=False)
        cluster.restart("a", "d")
        cluster.converge("abcd")
        assert "m" in cluster.deliveries("d")


def test_a_learner_of_a_group_that_is_suspended_is_told() -> None:
    with cluster_of("abc", "c") as cluster:
        cluster.until_members("abc")
        sent(cluster, "c", "m")
        cluster.drop(Chunk, source="c", target="a")
        cluster.hosts["a"] = (D,)
        cluster.crash("a")
        cluster.restart("a")
        cluster.until(lambda: "a" in (g.learners if (g := cluster.group("c")) else ()), "a learner")
        power_cut(cluster, "c")
        cluster.until(lambda: suspended(cluster, "b") == "c", "the suspension")
        cluster.until(lambda: suspended(cluster, "a") == "c", "the suspension at a")
        [(view, _)] = [pair for pair in pairwise(cluster.app("a").log) if isinstance(pair[1], GroupSuspended)]
        assert isinstance(view, Installed) and view.view.group_named("g") is None, "whoever serves it has let it go"
        cluster.world.links.rules.clear()
        cluster.restart("c")
        cluster.converge("abc")
        assert "m" in cluster.deliveries("a")


def test_a_log_of_an_older_view_counts_for_nothing() -> None:
    """The planted bug "resurrected old group": c was a host once; the group went on without it, and ended at d."""
    with cluster_of("abcd", "cd") as cluster:
        cluster.until_members("abcd")
        sent(cluster, "c", "old")
        power_cut(cluster, "c")
        cluster.until_members("abd", groups=False)
        sent(cluster, "d", "new")
        power_cut(cluster, "d")
        cluster.until_members("ab", groups=False)
        cluster.restart("c")
        cluster.until_members("abc", groups=False)
        cluster.run(2)
        assert suspended(cluster, "a") == "d", "c does not know the end"
        cluster.restart("d")
        cluster.converge("abcd")
        assert cluster.deliveries("c")[:2] == ["old", "new"]


@pytest.mark.parametrize("clock_s", [0, -3600])
def test_7_a_wiped_disk_counts_for_nothing(clock_s: int) -> None:
    """SCENARIOS 7.  If the clock was set back, too, the new life takes its number from the others; it is not the old."""
    with cluster_of("abcd", "cd") as cluster:
        cluster.until_members("abcd")
        sent(cluster, "c", "m")
        power_cut(cluster, "cd")
        cluster.until_members("ab", groups=False)
        cluster.crash("c", wipe=True)
        cluster.world.nodes["c"].clocks.offset_ns = clock_s * SECOND
        cluster.founders.pop("c")
        cluster.restart("c")
        cluster.until_members("abc", groups=False)
        cluster.run(2)
        assert suspended(cluster, "a") == "cd", "a new disk is not the old one"
        cluster.restart("d")
        cluster.converge("abcd")
        assert "m" in cluster.deliveries("c")


def test_a_stalled_disk_costs_its_node_the_place_and_not_the_others_their_progress() -> None:
    """SCENARIOS 8: heartbeats go on, but what it does not receive holds everybody up, so it is demoted; its promise does
    not come either, so the next view is without it.  It is back when its disk is."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        cluster.world.nodes["b"].disk_extra_ns = STALLED_NS
        cluster.send("a", "m")
        cluster.until(lambda: "m" in cluster.deliveries("c"), "m, without b", within=3.0)
        assert cluster.members("a") == "ac"
        power_cut(cluster, "b")
        cluster.world.nodes["b"].disk_extra_ns = 0
        cluster.restart("b")
        cluster.converge("abc")


def test_a_group_whose_host_crashed_before_it_installed_its_last_view_goes_on() -> None:
    """Seeds 1962 and 2201 of the first campaign: its log ends a view before the one that it was suspended in."""
    with cluster_of("abcd", "d") as cluster:
        cluster.until_members("abcd")
        sent(cluster, "d", "m")
        lost = cluster.drop(Commit, target="d")
        cluster.crash("a")
        cluster.until(lambda: any(v.id > 1 and v.rank("a") < 0 for v in cluster.views()), "the next view")
        if (view := cluster.view("d")) is not None and view.rank("a") >= 0:
            cluster.crash("d")
        else:
            power_cut(cluster, "d")
        lost.lift()
        cluster.until_members("bc", groups=False)
        cluster.restart("a", "d")
        cluster.converge("abcd")
        assert "m" in cluster.deliveries("d")


# --- for life ---------------------------------------------------------------------------------------------------------


def test_10_no_clock_that_was_shown_is_gone_back_behind_after_a_restart_of_all() -> None:
    """Counter-example 10: what was read at an instant stays as it was, although all clocks were set back meanwhile."""

    def schedule() -> None:
        with Cluster("ab", D) as cluster:
            cluster.until_members("ab")
            cluster.run(10)
            shown_by_then = stamp_of(EPOCH_NS + cluster.world.now - 200 * MILLISECOND)
            power_cut(cluster, "ab")
            for name in "ab":
                cluster.world.nodes[name].clocks.offset_ns = -3600 * SECOND
            cluster.restart("a", "b")
            cluster.until_members("ab")
            sent(cluster, "a", "m")
            assert cluster.log("a", Delivered)[-1].stamp > shown_by_then, "it was stamped before what was shown"

    shown(schedule, "stamps have no ceiling on disk", wrong="stamped before")


@pytest.mark.parametrize("spec", [GroupSpec("g"), GroupSpec("g", durable=True, min_copies=2)])
def test_a_group_keeps_its_durability_for_life(spec: GroupSpec) -> None:
    with Cluster("ab", D, hosts={"b": (spec,)}) as cluster:
        cluster.run(0.1)
        cluster.until(lambda: any(cluster.log(n, HostRefused) for n in "ab"), "a refusal")
