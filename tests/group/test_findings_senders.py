"""Findings about senders that are demoted, leave or change their minds: what becomes of what they had to send."""

import pytest

from phalanx.group.config import Limits
from phalanx.group.messages import Accept, Accepted, Ack, Commit, Data, Fetch, Promise, Row, Wish
from phalanx.model.events import Consumed, Delivered, Excluded, Host, Restored, Unhost
from phalanx.model.view import GroupSpec, Order
from tests.group.cluster import Cluster, G, group_of
from tests.group.durables import cluster_of, power_cut, suspended
from tests.group.stage import Rule


def demote(cluster: Cluster, name: str, dies: str) -> None:
    """A view change that the other one's death calls for, in which this one does not answer."""
    silent = cluster.drop(Promise, source=name)
    cluster.crash(dies)
    cluster.until(lambda: cluster.learners("a") == name == cluster.learners(name), f"{name} a learner")
    silent.lift()


def sent_to_d_alone(cluster: Cluster) -> Rule:
    """e's message m1 gets to d; to the others not before the rule is lifted."""
    lost = cluster.drop(Data, source="e", target="".join(sorted(set(cluster.names) - set("de"))))
    cluster.send("e", "m1")
    cluster.until_all_deliver("d", "m1")
    return lost


def test_a_sender_learns_that_its_message_was_dropped_though_all_hosts_had_it() -> None:
    """Seed 100057261, decision 6.  Causal: d's m2 comes after m1, which only d has got before its sender dies.  All have
    shown m2 to d, which is demoted without answering; the cut is without m1, so m2 is dropped.  d went on as a learner,
    and its next message was delivered without that one."""
    with Cluster("abcde", group_of(Order.CAUSAL)) as cluster:
        cluster.until_members("abcde")
        first = cluster.machine("d").me
        lost = sent_to_d_alone(cluster)
        cluster.send("d", "m2")
        cluster.run(0.05)
        silent = cluster.drop(Promise, source="d")
        cluster.crash("e")
        lost.lift()
        cluster.until(lambda: cluster.learners("a") == "d", "a view with d as a learner")
        silent.lift()
        cluster.until_members("abcd")
        assert cluster.machine("d").me != first
        cluster.send("d", "m3")
        cluster.until_all_deliver("abcd", "m3")
        assert "m2" not in cluster.deliveries("a")


@pytest.mark.parametrize("sends", ["while it is frozen", "before the state comes"])
def test_who_had_what_the_cut_leaves_out_sends_nothing_that_comes_after_it(sends: str) -> None:
    """Causal: d alone had m1, was demoted and given the others' state, and then all delivered what it had sent since."""
    with Cluster("abcde", group_of(Order.CAUSAL)) as cluster:
        cluster.until_members("abcde")
        first = cluster.machine("d").me
        lost, fetches = sent_to_d_alone(cluster), cluster.drop(Fetch, source="d")
        silent = cluster.drop(Promise, source="d")
        cluster.crash("e")
        cluster.until(lambda: cluster.machine("d").is_fenced, "a promise")
        if sends == "while it is frozen":
            cluster.send("d", "m2")
        cluster.until(lambda: cluster.learners("d") == "d", "a view with d as a learner")
        if sends == "before the state comes":
            cluster.send("d", "m2")
        for rule in (lost, fetches, silent):
            rule.lift()
        cluster.until_members("abcd")
        assert cluster.machine("d").me != first
        cluster.converge("abcd")


def test_so_it_is_with_a_learner_that_had_what_the_cut_leaves_out() -> None:
    """Learners, too, deliver on receipt, and their applications answer."""
    with Cluster("abcde", group_of(Order.CAUSAL)) as cluster:
        cluster.until_members("abcde")
        first = cluster.machine("d").me
        demote(cluster, "d", "c")
        lost = sent_to_d_alone(cluster)
        cluster.send("d", "m2")
        cluster.crash("e")
        lost.lift()
        cluster.until_members("abd")
        assert cluster.machine("d").me != first
        cluster.converge("abd")


def test_so_it_is_with_one_that_is_told_of_a_view_further_on() -> None:
    """It is not told the cut, and nobody has shown it that the others have m1."""
    with Cluster("abcdefg", group_of(Order.CAUSAL)) as cluster:
        cluster.until_members("abcdefg")
        first = cluster.machine("d").me
        lost = sent_to_d_alone(cluster)
        rules = [cluster.drop(Promise, Fetch, source="d"), cluster.drop(Accept, Accepted, target="d")]
        told = cluster.hold(Commit, target="d")
        cluster.crash("e")
        cluster.until(lambda: cluster.learners("a") == "d", "a view with d as a learner")
        cluster.crash("f")
        cluster.until(lambda: cluster.members("a") == "abcg", "another")
        told.caught = [(node, it) for node, it in told.caught if it.message.body.value.view == cluster.view("a")]
        cluster.let_go(told)
        cluster.until(lambda: cluster.world.notes["jump"] > 0, "news")
        cluster.until(lambda: cluster.learners("d") == "d", "a view that d is in")
        cluster.send("d", "m2")
        for rule in (lost, *rules):
            rule.lift()
        cluster.until_members("abcdg")
        assert cluster.machine("d").me != first
        cluster.converge("abcdg")


@pytest.mark.parametrize("order", list(Order))
def test_what_a_learner_has_to_send_is_delivered_before_it_leaves(order: Order) -> None:
    """It left at once, and what its demotion had put back, or was sent since, was lost."""
    spec = group_of(order, uniform=True)
    with Cluster("abcd", spec) as cluster:
        cluster.until_members("abcd")
        lost = cluster.drop(Data, source="c")
        cluster.send("c", "before")
        cluster.run(0.01)
        demote(cluster, "c", "d")
        lost.lift()
        cluster.send("c", "since")
        cluster.leave("c")
        cluster.until(lambda: bool(cluster.log("c", Excluded)), "its farewell")
        assert [farewell.reason for farewell in cluster.log("c", Excluded)] == ["it left"]
        assert cluster.deliveries("a") == cluster.deliveries("b") == ["before", "since"]


@pytest.mark.parametrize("why", ["its application does not read", "its disk has no room", "it gets no state"])
def test_a_learner_that_will_not_be_promoted_leaves_all_the_same(why: str) -> None:
    """What it has to send will not be sent: the others would wait for it, or it has not got the state, and cannot."""
    with cluster_of("abcd", limits=Limits(window=200)) as cluster:
        cluster.until_members("abcd")
        if why == "its disk has no room":
            cluster.world.disks.fill(cluster.world.nodes["c"], 1_000, warned=True)
            cluster.until(lambda: (g := cluster.group("a")) is not None and g.learners == ("c",), "a group without c")
        elif why == "it gets no state":
            cluster.drop(Data, source="b", target="c")
            cluster.drop(Fetch, source="c")
            cluster.send("b", "x")
            cluster.run(0.01)
            demote(cluster, "c", "d")
            group = cluster.group("c")
            assert group is not None and not cluster.machine("c").is_synced(group.id)
        else:
            demote(cluster, "c", "d")
            deliver = cluster.apps.deliver
            cluster.world._deliver = lambda node, it: [
                r for r in deliver(node, it) if node.name != "c" or not isinstance(r, Consumed)
            ]
            payloads = [f"{number:050}" for number in range(4)]
            cluster.send("a", *payloads)
            cluster.until_all_deliver("c", *payloads)
        cluster.send("c", "m")
        cluster.leave("c")
        cluster.until(lambda: bool(cluster.log("c", Excluded)), "its farewell")


def test_the_last_member_delivers_what_it_has_to_send_before_it_leaves() -> None:
    """It stopped as it stood: what waited for the window was not in the log of its durable group."""
    with cluster_of("a", limits=Limits(window=100)) as cluster:
        cluster.until_members("a")
        payloads = [f"{number:020}" for number in range(50)]
        cluster.send("a", *payloads)
        cluster.leave("a")
        cluster.until(lambda: bool(cluster.log("a", Excluded)), "its farewell")
        cluster.crash("a")
        cluster.restart("a")
        cluster.until_members("a")
        assert cluster.deliveries("a") == payloads


def test_the_last_member_does_not_wait_for_copies_that_nobody_makes() -> None:
    with cluster_of("a", spec=GroupSpec("g", durable=True, min_copies=2)) as cluster:
        cluster.until_members("a")
        cluster.send("a", "m")
        cluster.leave("a")
        cluster.until(lambda: bool(cluster.log("a", Excluded)), "its farewell")


def test_half_a_payload_is_not_joined_to_what_is_sent_after_a_suspension() -> None:
    """c, a learner, has sent part of a large payload when the group is suspended; the rest is lost with its place in it.
    The hosts came back with that part, and delivered it as the beginning of c's next large payload."""
    with cluster_of("abcdefgh", hosts="abc", limits=Limits(batch=64, window=200)) as cluster:
        cluster.until_members("abcdefgh")
        first = cluster.machine("c").me
        deaf = cluster.drop(Ack, Row, target="c")
        cluster.send("c", "1" * 64 * 6)
        cluster.run(0.01)
        demote(cluster, "c", "f")
        deaf.lift()
        power_cut(cluster, "ab")
        cluster.until(lambda: suspended(cluster, "d") == "ab", "the suspension")
        cluster.restart("a", "b")
        cluster.until_members("abcdegh")
        assert cluster.machine("c").me != first, "its application is told that the outcome is unknown"
        cluster.send("c", "2" * 64 * 3)
        cluster.until_all_deliver("abc", "2" * 64 * 3)


def test_a_sender_is_told_of_what_it_gets_with_a_state_in_place_of_a_delivery() -> None:
    """c is demoted with a cut that has its m, and b's x, which c lacks: so m comes with the state, and c's application,
    which waited for its delivery, waited for ever, and took each later one for the one before."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        first = cluster.machine("c").me
        lost, deaf = cluster.drop(Data, source="b", target="c"), cluster.drop(Ack, Row, target="c")
        cluster.send("b", "x")
        cluster.send("c", "m", "n")
        cluster.run(0.02)
        demote(cluster, "c", "d")
        lost.lift()
        deaf.lift()
        cluster.until_members("abc")
        cluster.send("c", "o")
        cluster.until_all_deliver("abc", "o")
        assert cluster.machine("c").me == first
        assert [restored.own for restored in cluster.log("c", Restored)] == [2]
        assert [bytes(p) for d in cluster.log("c", Delivered) for p in d.payloads] == [b"o"]


def test_a_wish_that_is_taken_back_is_no_reason_for_one_view_after_the_other() -> None:
    """The coordinator remembered it for two seconds, in which 77 views followed each other."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        cluster.run(1)
        cluster.crash("d")
        cluster.until_members("abc")
        before = len(cluster.views())
        cluster.world.request("c", Unhost("g"))
        cluster.run(0.005)
        wishes = cluster.drop(Wish, source="c")
        cluster.world.request("c", Host(G))
        cluster.run(3)
        wishes.lift()
        assert len(cluster.views()) <= before + 1
        cluster.converge("abc")


def test_a_wish_that_is_taken_back_is_not_granted_to_one_that_does_not_answer() -> None:
    """c lost its place in the group, and with it what its demotion had put back."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        cluster.run(1)
        cluster.crash("e")
        cluster.until_members("abcd")
        cluster.world.request("c", Unhost("g"))
        cluster.run(0.002)
        cluster.world.request("c", Host(G))
        cluster.run(0.001)
        lost = cluster.drop(Data, source="c")
        cluster.send("c", "m")
        demote(cluster, "c", "d")
        lost.lift()
        cluster.until_all_deliver("abc", "m")


def test_who_was_not_told_of_a_suspension_does_not_lose_silently_what_it_had_to_send() -> None:
    """c is told of nothing from before the suspension until the group goes on without it; its place was gone, with all
    that was queued."""
    with cluster_of("abcdefgh", hosts="abc") as cluster:
        cluster.until_members("abcdefgh")
        first = cluster.machine("c").me
        demote(cluster, "c", "f")
        told = cluster.hold(Commit, target="c")
        cluster.send("c", "m")
        cluster.crash("a", "b")
        cluster.until(lambda: suspended(cluster, "d") == "ab", "the suspension")
        cluster.restart("a", "b")
        cluster.until(lambda: cluster.group("a") is not None, "its end")
        told.caught = [(node, it) for node, it in told.caught if it.message.body.value.view == cluster.view("a")]
        cluster.let_go(told)
        cluster.until_members("abcdegh")
        assert cluster.world.notes["jump"] == 1
        assert cluster.machine("c").me != first, "its application is told that the outcome is unknown"


@pytest.mark.parametrize("has_state", [True, False])
def test_a_full_member_that_learns_a_causal_group_and_has_what_the_cut_leaves_out(has_state: bool) -> None:
    """It is the eldest, without which the other one is no quorum: its next life votes for it.  While its application has
    no state, nothing was delivered to it that it could answer."""
    g, h = group_of(Order.CAUSAL), GroupSpec("h", durable=True)
    with Cluster("abe", g, h, hosts={"a": (h,)}) as cluster:
        cluster.until_members("abe")
        first = cluster.machine("a").me
        fetches = cluster.drop(Fetch, source="a")
        if has_state:
            fetches.lift()
        cluster.hosts["a"] = (g, h)
        cluster.world.request("a", Host(g))
        cluster.until(lambda: (place := cluster.group("a")) is not None and place.learners == ("a",), "a learner")
        lost, place = cluster.drop(Data, source="e", target="b"), cluster.group("a")
        assert place is not None
        cluster.until(lambda: cluster.machine("a").is_synced(place.id) == has_state, "its state")
        cluster.send("e", "m1")
        cluster.run(0.002)
        assert cluster.group("a") == place and cluster.deliveries("a") == ["m1"] * has_state
        cluster.crash("e")
        cluster.until(lambda: cluster.members("b") == "ab", "a view without e")
        lost.lift()
        fetches.lift()
        cluster.until_members("ab")
        assert (cluster.machine("a").me != first) == has_state
        cluster.converge("ab")
