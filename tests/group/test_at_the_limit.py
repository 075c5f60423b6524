"""What a node does where something has come to its limit, or is not to be had: a transfer that the group outruns, an
application that gives no snapshot, a name that somebody has."""

from collections.abc import Callable
from typing import Any

import pytest

from phalanx.group import machine, membership, validity
from phalanx.group.config import Limits
from phalanx.group.ledger import EARLY_BYTES
from phalanx.group.messages import Chunk, Envelope, Wish
from phalanx.model.events import Host, HostRefused, SnapshotTaken, SnapshotWanted
from phalanx.model.machine import Received, Room, Space
from phalanx.model.view import GroupSpec, Member
from phalanx.sim.node import Node
from tests.group.cluster import Cluster
from tests.group.durables import D, sent


def test_a_transfer_that_the_group_outruns_begins_again_and_nothing_is_lost() -> None:
    """`Limits.suffix`: the learner forgets what it held for the snapshot under way, and takes a later one."""
    with Cluster("abc", late="c", founders="ab", limits=Limits(suffix=2_000, slack=1_000, chunk=500)) as cluster:
        cluster.until_members("ab")
        sent(cluster, "a", *(f"before {n}" for n in range(10)))
        pieces = cluster.hold(Chunk, target="c")
        cluster.restart("c")
        cluster.until(lambda: bool(pieces.caught), "a transfer")
        after = [f"after {n}: {'x' * 100}" for n in range(40)]
        sent(cluster, "b", *after)
        cluster.until(lambda: cluster.world.notes["transfer.overflow"] > 0, "an overflow")
        assert not cluster.deliveries("c")
        cluster.let_go(pieces)
        cluster.until_members("abc")
        cluster.until_all_deliver("c", *after)


def without_snapshots(cluster: Cluster, names: str) -> Callable[[], list[str]]:
    """The applications of these nodes answer that they have none.  Who was asked so far."""
    asked: list[str] = []
    deliver = cluster.apps.deliver

    def refuses(node: Node, delivery: Any) -> list[Any]:
        events = list(deliver(node, delivery))
        if node.name not in names or not isinstance(delivery, SnapshotWanted):
            return events
        asked.append(node.name)
        assert len(asked) < 100, "asked again at once"
        return [SnapshotTaken(delivery.group, delivery.token, None)]

    cluster.world._deliver = refuses
    return lambda: asked


def test_a_learner_waits_for_a_donor_whose_application_has_no_snapshot_and_another_helps() -> None:
    with Cluster("abc", late="c", founders="ab") as cluster:
        cluster.until_members("ab")
        sent(cluster, "a", "one", "two")
        asked = without_snapshots(cluster, "ab")
        cluster.restart("c")
        cluster.until(lambda: len(set(asked())) == 2, "both to be asked")
        assert cluster.learners("a") == "c" and not cluster.deliveries("c")
        cluster.world._deliver = cluster.apps.deliver
        cluster.until_members("abc")
        assert cluster.deliveries("c") == ["one", "two"]


def test_an_application_without_a_snapshot_is_not_asked_again_and_again_while_the_disk_is_nearly_full() -> None:
    """Each time the log grew by what begins a round: a node whose disk had little left asked in every turn, for ever."""
    with Cluster("a", D) as cluster:
        cluster.until_members("a")
        sent(cluster, "a", *(f"{n}{'x' * (EARLY_BYTES // 10)}" for n in range(11)))
        asked = without_snapshots(cluster, "a")
        cluster.world.arrive(cluster.world.nodes["a"], Room(Space.LOW, 100 * EARLY_BYTES))
        cluster.until(lambda: bool(asked()), "a round")
        records = len(cluster.world.nodes["a"].log)
        cluster.run(2)
        assert asked() == ["a"] and cluster.world.notes["log.round_given_up"] == 1
        assert len(cluster.world.nodes["a"].log) < records + 20


def test_the_name_of_a_live_member_is_given_to_nobody_else_until_it_is_gone() -> None:
    """Two machines were given the same name: the second would put the first out, and be put out by it, for ever."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        before = cluster.view("a")
        double = Member("c", "elsewhere", 1 << 45)
        wish = Received(double.address, Envelope(0, double, Wish(double, True, (), (), False)))

        def asks() -> int:
            cluster.world.arrive(cluster.world.nodes["a"], wish)
            cluster.run(0.5)
            return cluster.world.notes["join.refused"]

        assert [asks(), asks()] == [1, 2]
        assert cluster.view("a") == before
        cluster.crash("c")
        cluster.until_members("ab")
        assert asks() == 2, "its name is free"


def test_a_group_that_cannot_be_is_refused_where_it_is_asked_for() -> None:
    """What others would take for a lie, and drop the connection for."""
    with Cluster("ab") as cluster:
        cluster.until_members("ab")
        bad = GroupSpec("h", min_copies=3)
        cluster.world.request("b", Host(bad))
        cluster.run(1)
        [refused] = cluster.log("b", HostRefused)
        assert refused.spec == bad
        assert cluster.group("a", "h") is None and not cluster.world.notes["fault"]


def test_what_is_no_message_between_nodes_costs_its_sender_the_connection() -> None:
    with Cluster("ab") as cluster:
        cluster.until_members("ab")
        output = cluster.machine("b").step([Received("a", Host(GroupSpec("h")))], cluster.machine("b")._core.now)
        assert [(drop.source, drop.reason) for drop in output.drops] == [("a", "not a message between nodes")]


def test_one_group_more_than_a_node_may_host_is_refused_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its peers took what it wished for a lie, its promises with that, and no view could be changed any more."""
    for module in (machine, membership, validity):
        monkeypatch.setattr(module, "GROUPS_MAX", 2)
    more = GroupSpec("more")
    with Cluster("abc", GroupSpec("g"), GroupSpec("h")) as cluster:
        cluster.until_members("abc")
        for name in "abc":
            cluster.world.request(name, Host(more))
        cluster.run(1)
        for name in "abc":
            assert [(each.spec, each.reason) for each in cluster.log(name, HostRefused)] == [
                (more, f"{name} hosts 2 groups, which is the limit")
            ]
        cluster.crash("c")
        cluster.until_members("ab")
        assert not cluster.world.notes["fault"]
    with pytest.raises(AssertionError, match="is to host 3 groups, the limit is 2"):
        Cluster("a", GroupSpec("g"), GroupSpec("h"), more).run(1)
