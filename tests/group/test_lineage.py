"""A new lineage: an operator has one node go on alone (DESIGN section 8; SCENARIOS 20)."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from phalanx.errors import ClusterSuperseded, ConfigurationError
from phalanx.group.config import Config
from phalanx.group.lineage import CLOCK_BEHIND, FENCE_AHEAD, VIEWS_AHEAD, Rescue, rescue
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ceiling, Data, Row, Votes
from phalanx.model.clock import COUNTER_BITS, Instant, Stamp
from phalanx.model.events import Delivered, Excluded, Founded, Rescued
from phalanx.model.machine import Journal
from phalanx.model.view import DEPARTED_MAX, GroupSpec
from tests.group.cluster import Cluster
from tests.group.durables import D, cluster_of, cut_log, power_cut, sent

CLUSTER = 77
NOW = 1_800_000_000_000 << COUNTER_BITS
"""By the clock of the operator."""
WALL = 1_700_000_000_000 << COUNTER_BITS
"""When the simulation begins, by its clocks."""


def planned(cluster: Cluster, name: str, now: Stamp = NOW, cluster_id: int = CLUSTER) -> Rescue:
    node = cluster.world.nodes[name]
    votes = node.durable
    assert isinstance(votes, Votes)
    return rescue(name, votes, Journal(tuple(node.log), tuple(node.cuts), node.log_lost), cluster_id, now)


def recover(
    cluster: Cluster, name: str, *, interrupted: bool = False, now: Stamp = NOW, cluster_id: int = CLUSTER
) -> Rescue:
    """What the command does to a node that is down."""
    cluster.check()
    node = cluster.world.nodes[name]
    plan = planned(cluster, name, now, cluster_id)
    if plan.record is not None:
        node.log.append(plan.record)
    if not interrupted:
        node.durable = plan.votes
    return plan


@contextmanager
def recovered(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that is judged up to its recovery: to the oracles the new lineage is another cluster, whose groups have a
    past that nobody sent."""
    yield cluster
    assert not cluster.world.failures


def test_one_of_three_goes_on_alone_with_what_it_knows_and_new_nodes_join_it() -> None:
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "one", "two")
        group = cluster.group("c")
        power_cut(cluster, "abc")
        plan = recover(cluster, "c")
        assert [m.name for m in plan.missing] == ["a", "b"]
        assert [kept.group.id for kept in plan.kept] == [group.id if group is not None else 0]
        assert not plan.lost
        cluster.restart("c")
        cluster.until_members("c")
        assert cluster.deliveries("c") == ["one", "two"]
        view = cluster.view("c")
        assert view is not None
        assert (view.cluster, view.lineage) == (CLUSTER, (plan.view.cluster,))
        assert view.id > plan.view.id + VIEWS_AHEAD
        sent(cluster, "c", "three")
        for name in "ab":
            cluster.crash(name, wipe=True)
            cluster.founders.pop(name)
            cluster.restart(name)
        cluster.converge("cab")
        assert cluster.deliveries("a")[:3] == ["one", "two", "three"]
        power_cut(cluster, "abc")
        cluster.restart(*"ab")
        cluster.until_members("ab")
        assert cluster.deliveries("b")[:3] == ["one", "two", "three"]


def test_the_new_view_remembers_no_more_departed_members_than_a_view_may() -> None:
    """Those that the recovery leaves behind are the latest of them."""
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        power_cut(cluster, "abc")
        votes = cluster.world.nodes["c"].durable
        assert isinstance(votes, Votes) and votes.view is not None
        before = tuple((f"former-{i}", 7) for i in range(DEPARTED_MAX))
        votes = msgspec.structs.replace(votes, view=msgspec.structs.replace(votes.view, departed=before))
        made = rescue("c", votes, Journal((), (), False), CLUSTER, NOW).votes.view
        assert made is not None
        assert made.departed[:-2] == before[2:]
        assert [name for name, _ in made.departed[-2:]] == ["a", "b"]


def test_what_had_not_been_delivered_and_is_in_the_log_is_kept() -> None:
    """It may have been acknowledged by those who are gone."""
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        cluster.drop(Row, source="c")
        cluster.drop(Data, source="a", target="b")
        cluster.send("a", "m")
        cluster.run(0.02)
        assert not cluster.deliveries("a")
        power_cut(cluster, "abc")
        cluster.world.links.rules.clear()
        recover(cluster, "c")
        cluster.restart("c")
        cluster.until_members("c")
        assert cluster.deliveries("c") == ["m"]


def test_old_members_that_turn_up_later_are_told_and_stop() -> None:
    with recovered(Cluster("abc", D, returns=False)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "m")
        power_cut(cluster, "abc")
        recover(cluster, "c")
        cluster.restart("c")
        cluster.until_members("c")
        cluster.restart("a", "b")
        cluster.until(lambda: all(cluster.log(name, Excluded) for name in "ab"), "the news")
        [excluded] = cluster.log("a", Excluded)
        assert "was recovered by its operator as cluster 4d" in excluded.reason
        cluster.run(3)
        assert cluster.view("a") is None
        assert cluster.view("b") is None
        assert cluster.members("c") == "c"
        votes = cluster.world.nodes["a"].durable
        assert isinstance(votes, Votes)
        with pytest.raises(ClusterSuperseded, match="move its data directory away"):
            GroupMachine(Config("a", "a"), votes, random.Random(1), Instant(1, 1))


def test_a_recovery_that_was_interrupted_goes_on_as_it_began() -> None:
    """The log is written before the votes: what is between the two is neither lost nor decided twice."""
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "m")
        power_cut(cluster, "abc")
        first = recover(cluster, "c", interrupted=True)
        second = recover(cluster, "c")
        assert second.record is None
        assert second.votes == first.votes
        cluster.restart("c")
        cluster.until_members("c")
        assert cluster.deliveries("c") == ["m"]


def test_a_suspended_group_whose_last_hosts_are_gone_is_given_up_and_named() -> None:
    memory = GroupSpec("m")
    with recovered(cluster_of("abcd", "d")) as cluster:
        cluster.hosts["a"] = (memory,)
        cluster.restart("a")
        cluster.until_members("abcd")
        sent(cluster, "d", "m")
        power_cut(cluster, "d")
        cluster.until_members("abc", groups=False)
        power_cut(cluster, "abc")
        plan = recover(cluster, "a")
        assert sorted(group.spec.name for group in plan.lost) == ["g", "m"]
        assert not plan.kept
        cluster.hosts["a"] = (D,)
        cluster.restart("a")
        cluster.until_members("a")
        assert not cluster.log("a", Founded)[0].replayed


def test_a_torn_log_is_taken_as_it_is_and_said_to_be_torn() -> None:
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "one", "two")
        power_cut(cluster, "abc")
        cut_log(cluster, "c", 1)
        assert not recover(cluster, "c").kept[0].whole
        cluster.restart("c")
        cluster.until_members("c")
        assert cluster.deliveries("c") in (["one"], ["one", "two"])


def test_groups_are_told_where_what_is_certain_ends_once_and_before_anything_new() -> None:
    """All that the log holds comes first: clients hold ids that it gave out (of sessions and leases), and use them."""
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "one", "two")
        power_cut(cluster, "abc")
        recover(cluster, "c")
        cluster.restart("c")
        cluster.until_members("c")
        sent(cluster, "c", "three")
        heard = [
            b"".join(d.payloads) if isinstance(d, Delivered) else type(d)
            for d in cluster.app("c").log
            if isinstance(d, Founded | Delivered | Rescued)
        ]
        assert heard == [Founded, b"onetwo", Rescued, b"three"]
        [rescued] = cluster.log("c", Rescued)
        assert rescued.fence == NOW + FENCE_AHEAD
        power_cut(cluster, "c")
        cluster.restart("c")
        cluster.until_members("c")
        assert cluster.log("c", Rescued)[-1] == rescued
        view = cluster.view("c")
        assert view is not None and view.fence == rescued.fence, "it goes from view to view"


def test_the_fence_is_above_the_last_one_whatever_the_clocks_say() -> None:
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        power_cut(cluster, "abc")
        first = recover(cluster, "c").votes.view
        cluster.restart("c")
        cluster.until_members("c")
        power_cut(cluster, "c")
        second = recover(cluster, "c", cluster_id=CLUSTER + 1).votes.view
        assert first is not None and second is not None
        assert second.fence == first.fence + FENCE_AHEAD


def test_a_group_in_memory_that_is_lost_after_a_recovery_begins_further_on() -> None:
    """All its hosts have failed; its clients hold tokens, and ids of sessions, that went on from the fence."""
    with recovered(Cluster("abc", D)) as cluster:
        cluster.hosts["c"] = (D, GroupSpec("m"))
        cluster.until_members("abc")
        power_cut(cluster, "abc")
        recover(cluster, "c", now=WALL)
        fences = []
        for _ in range(3):
            cluster.restart("c")
            cluster.until_members("c")
            cluster.run(5)
            fences.append([e.fence for e in cluster.log("c", Founded) if e.spec.name == "m"][-1])
            power_cut(cluster, "c")
        assert fences[0] < fences[1] < fences[2]
        assert fences[2] - fences[1] >= 3_000 << COUNTER_BITS, "by as much as the clock went on"
        last = recover(cluster, "c", now=WALL + 2 * CLOCK_BEHIND, cluster_id=CLUSTER + 1).votes.view
        assert last is not None and last.fence > fences[2]


def test_a_clock_that_is_behind_the_log_tells_nothing() -> None:
    """The fence has to be above what others gave out since, and only the operator's clock says how long that was."""
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        power_cut(cluster, "abc")
        cluster.world.nodes["c"].log.append(Ceiling(NOW))
        assert planned(cluster, "c", now=NOW - CLOCK_BEHIND)
        with pytest.raises(ConfigurationError, match=r"clock of this machine is \d+ s behind .* set it first"):
            planned(cluster, "c", now=NOW - CLOCK_BEHIND - 1)


def test_there_must_be_something_to_recover() -> None:
    with pytest.raises(ConfigurationError, match="never in a view"):
        rescue("a", Votes(5), Journal(), CLUSTER, NOW)
    with recovered(Cluster("abc", D)) as cluster:
        cluster.until_members("abc")
        votes = cluster.world.nodes["a"].durable
        assert isinstance(votes, Votes)
        with pytest.raises(ConfigurationError, match="the data of node a, and not of b"):
            rescue("b", votes, Journal(), CLUSTER, NOW)
        nameless = msgspec.structs.replace(votes, name="")  # as an older version has written it
        with pytest.raises(ConfigurationError, match="named x; this is the data of one of a, b, c"):
            rescue("x", nameless, Journal(), CLUSTER, NOW)
