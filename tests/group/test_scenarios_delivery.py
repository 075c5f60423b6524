"""Sending and delivering at bad moments: leavers, dying senders, speeds, clocks, repetitions (SCENARIOS 19, 23 to 27)."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from phalanx.group.config import Limits
from phalanx.group.messages import Accepted, Commit, Data, Envelope, Prepare, Promise, Row
from phalanx.model.clock import SECOND, stamp_of, wall_ms
from phalanx.model.events import Delivered, Excluded, Installed, Multicast
from phalanx.model.machine import Received
from phalanx.model.view import Name, Order
from phalanx.sim.clocks import EPOCH_NS
from phalanx.sim.node import Node
from tests.group.cluster import Cluster, group_of

ORDERS = list(Order)
YEARS = 365 * 24 * 3600 * SECOND


# --- 19: sends at bad moments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_sent_while_a_member_leaves_reaches_those_who_stay(order: Order) -> None:
    """SCENARIOS 19: a message to a member that has just left."""
    with Cluster("abcd", group_of(order)) as cluster:
        cluster.until_members("abcd")
        cluster.leave("d")
        sent = []
        for i in range(20):
            sent.append(cluster.send("abc"[i % 3], f"m{i}"))
            cluster.run(0.0005)
        cluster.until_members("abc")
        cluster.until_all_deliver("abc", *sent)
        cluster.converge("abc")


@pytest.mark.parametrize("order", ORDERS)
def test_a_leavers_own_last_messages_are_delivered_by_all_or_none(order: Order) -> None:
    """SCENARIOS 19: it learns by the cut what became of them; what it delivered itself the others deliver too."""
    with Cluster("abcd", group_of(order)) as cluster:
        cluster.until_members("abcd")
        cluster.send("d", *(f"m{i}" for i in range(5)))
        cluster.leave("d")
        cluster.send("d", "after its wish")
        cluster.until(lambda: bool(cluster.log("d", Excluded)), "its leave")
        cluster.until_members("abc")
        cluster.run(0.1)
        states = [cluster.deliveries(n) for n in "abc"]
        own = [p.decode() for p in next(iter(cluster.app("d").state.values()))]
        assert all(set(own) <= set(state) for state in states)
        cluster.converge("abc")


@pytest.mark.parametrize("order", ORDERS)
def test_a_send_that_races_with_a_join_reaches_the_joiner_once(order: Order) -> None:
    """SCENARIOS 19: as a message or in the state."""
    with Cluster("ab", group_of(order)) as cluster:
        cluster.until_members("ab")
        cluster.join("c")
        sent = []
        for i in range(60):
            sent.append(cluster.send("ab"[i % 2], f"m{i}"))
            cluster.run(0.0005)
        cluster.until_members("abc")
        cluster.until_all_deliver("abc", *sent)
        assert sorted(cluster.deliveries("c")) == sorted(sent)
        cluster.converge("abc")


@pytest.mark.parametrize("order", ORDERS)
def test_a_send_from_a_delivery_callback_never_waits(order: Order) -> None:
    """SCENARIOS 19; DESIGN section 5 and counter-example 17: every delivery is answered from within, by all, while the
    window is small and a view changes."""
    with Cluster("abc", group_of(order), limits=Limits(window=64, batch=32)) as cluster:
        answers: list[str] = []

        def answer(name: Name, delivered: Delivered) -> Iterable[Any]:
            for payload in map(bytes.decode, map(bytes, delivered.payloads)):
                if payload.startswith("ask"):
                    answers.append(f"{name} answers {payload}")
                    yield cluster.multicast(name, answers[-1])

        cluster.apps.on_delivery = answer
        cluster.until_members("abc")
        for i in range(30):
            cluster.send("abc"[i % 3], f"ask {i}")
        cluster.join("d")
        cluster.until_members("abcd")
        cluster.until(lambda: len(answers) >= 90, "answers")
        cluster.until_all_deliver("abc", *answers[:90])
        cluster.converge("abcd")


def test_a_multicast_in_the_callback_of_a_new_view_belongs_to_that_view() -> None:
    """SCENARIOS 19."""
    with Cluster("abc") as cluster:
        deliver = cluster.apps.deliver

        def greet(node: Node, delivery: Any) -> Iterable[Any]:
            yield from deliver(node, delivery)
            if isinstance(delivery, Installed):
                yield cluster.multicast(node.name, f"{node.name} in {delivery.view.id}")

        cluster.world._deliver = greet
        cluster.until_members("abc")
        cluster.send("a", "trigger")
        cluster.crash("c")
        cluster.until_members("ab")
        cluster.until_all_deliver("ab", "trigger", "a in 2", "b in 2")
        for name in "ab":
            views = {bytes(p).decode(): d.view for d in cluster.log(name, Delivered) for p in d.payloads}
            assert (views["a in 1"], views["b in 1"], views["a in 2"], views["b in 2"]) == (1, 1, 2, 2)


# --- 23, 24: a sender that dies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("reached", ["b", "c", "e"])
def test_a_message_that_reached_one_member_is_delivered_by_all_survivors_or_none(
    order: Order, uniform: bool, reached: str
) -> None:
    """SCENARIOS 23: in a group that is not uniform by all, since the one may have delivered it; else by none."""
    with Cluster("abcde", group_of(order, uniform=uniform)) as cluster:
        cluster.until_members("abcde")
        lost = cluster.drop(Data, source="a", target="bcde".replace(reached, ""))
        cluster.send("a", "last words")
        cluster.until(lambda: len(lost.caught) == 3, "the sending")
        cluster.run(0.001)
        cluster.crash("a")
        cluster.until_members("bcde")
        cluster.run(0.1)
        delivers = not (uniform or order is Order.TOTAL)
        assert [("last words" in cluster.deliveries(n)) for n in "bcde"] == [delivers] * 4
        lost.lift()
        cluster.restart("a")
        cluster.converge("abcde")


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_a_message_that_only_the_dead_had_is_delivered_by_no_survivor(order: Order, uniform: bool) -> None:
    """SCENARIOS 24: and where delivery is uniform, by none of the dead either."""
    with Cluster("abcde", group_of(order, uniform=uniform)) as cluster:
        cluster.until_members("abcde")
        lost = cluster.drop(Data, source="ab", target="cde")
        cluster.send("a", "between us")
        cluster.until(lambda: len(lost.caught) == 3, "the sending")
        cluster.run(0.01)
        is_uniform = uniform or order is Order.TOTAL
        assert [("between us" in cluster.deliveries(n)) for n in "ab"] == [not is_uniform] * 2
        cluster.crash("a", "b")
        cluster.until_members("cde")
        cluster.run(0.1)
        assert not any("between us" in cluster.deliveries(n) for n in "cde")
        lost.lift()
        cluster.restart("a", "b")
        cluster.converge("abcde")


def test_causal_messages_that_depend_on_a_lost_one_are_dropped_with_their_senders_later_ones() -> None:
    """SCENARIOS 24; DESIGN counter-example 14: m2 depends on m1, which died with its sender and its only receiver."""
    with Cluster("abcde", group_of(Order.CAUSAL)) as cluster:
        cluster.until_members("abcde")
        lost = cluster.drop(Data, source="a", target="cde")
        cluster.send("a", "m1")
        cluster.until_all_deliver("b", "m1")
        cluster.send("b", "m2")
        cluster.run(0.01)
        assert not any("m2" in cluster.deliveries(n) for n in "cde"), "what it depends on is missing"
        cluster.crash("a", "b")
        cluster.until_members("cde")
        cluster.run(0.1)
        assert not any(set(cluster.deliveries(n)) & {"m1", "m2"} for n in "cde")
        lost.lift()
        cluster.restart("a", "b")
        cluster.converge("abcde")


@pytest.mark.parametrize("order", ORDERS)
def test_what_a_survivor_sent_and_nobody_received_is_sent_again_in_the_next_view(order: Order) -> None:
    """SCENARIOS 23; DESIGN section 6: survivors resend what the cut leaves out."""
    with Cluster("abc", group_of(order, uniform=True)) as cluster:
        cluster.until_members("abc")
        lost = cluster.drop(Data, source="b")
        cluster.send("b", "kept", "in order")
        cluster.until(lambda: bool(lost.caught), "the sending")
        cluster.crash("a")
        cluster.until(lambda: cluster.members("b") == "bc", "a view of bc")
        lost.lift()
        cluster.until_all_deliver("bc", "kept", "in order")
        cluster.restart("a")
        cluster.converge("abc")


# --- 25: speeds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [Order.TOTAL, Order.CAUSAL, Order.FIFO])
def test_a_fast_sender_is_not_held_to_a_slow_one_which_is_not_starved(order: Order) -> None:
    """SCENARIOS 25: each is delivered a few message delays after its sending, whatever the other does."""
    with Cluster("abc", group_of(order)) as cluster:
        cluster.until_members("abc")
        for i in range(40):
            for k in range(10):
                cluster.send("a", f"fast {i}.{k}")
                cluster.run(0.001)
            slow = cluster.send("c", f"slow {i}")
            cluster.run(0.005)
            assert all(slow in cluster.deliveries(n) for n in "abc"), "not starved"
            assert all(f"fast {i}.9" in cluster.deliveries(n) for n in "abc"), "not held back"


def test_the_window_holds_a_flood_and_lets_the_others_through() -> None:
    """SCENARIOS 25: one that floods fills its own window only."""
    limits = Limits(window=1000, batch=100)
    with Cluster("abc", limits=limits) as cluster:
        cluster.until_members("abc")
        flood = [f"flood {i} " + "." * 40 for i in range(500)]
        cluster.send("a", flood[0], *flood[1:])
        calm = cluster.send("b", "calm")
        cluster.until_all_deliver("abc", calm, within=0.05)
        assert flood[-1] not in cluster.deliveries("b"), "the flood goes on behind"
        cluster.until_all_deliver("abc", *flood)
        assert [p for p in cluster.deliveries("b") if p.startswith("flood")] == flood


# --- 26: clocks -------------------------------------------------------------------------------------------------------


def set_clock(cluster: Cluster, name: Name, offset_ns: int) -> None:
    cluster.world.nodes[name].clocks.offset_ns = offset_ns


@pytest.mark.parametrize("order", [Order.TOTAL, Order.CAUSAL])
@pytest.mark.parametrize("wrong", [10 * YEARS, -10 * YEARS, 2 * SECOND, -2 * SECOND])
def test_a_wrong_clock_changes_no_order_and_carries_no_stamp_away(order: Order, wrong: int) -> None:
    """SCENARIOS 26; DESIGN counter-example 11: nobody stamps beyond the median plus `max_offset`."""
    with Cluster("abc", group_of(order)) as cluster:
        set_clock(cluster, "c", wrong)
        cluster.until_members("abc")
        for i in range(20):
            cluster.send("abc"[i % 3], f"m{i}")
            cluster.run(0.02)
        cluster.until_all_deliver("abc", *(f"m{i}" for i in range(20)), within=2.0)
        limit = wall_ms(stamp_of(EPOCH_NS + cluster.world.now + 2 * cluster.timing.max_offset))
        assert all(wall_ms(d.stamp) <= limit for n in "abc" for d in cluster.log(n, Delivered))
        assert len(cluster.views()) == 1, "a wrong clock is no reason for a view change"


def test_a_clock_that_jumps_to_and_fro_changes_no_order() -> None:
    """SCENARIOS 26: the cluster's checker demands one total order; nothing waits for a clock to catch up."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        for i, offset in enumerate((0, 3600, -3600, 10, -10, 86400, 0, -86400, 1, 0)):
            set_clock(cluster, "b", offset * SECOND)
            sent = [cluster.send(n, f"{n}{i}") for n in "abc"]
            cluster.until_all_deliver("abc", *sent, within=0.6)
            cluster.run(0.1)
        stamps = [d.stamp for d in cluster.log("a", Delivered)]
        assert stamps == sorted(stamps)


def test_a_stamp_past_the_bound_is_refused_and_merged_by_nobody() -> None:
    """SCENARIOS 26: a batch further ahead than any right clock is an accusation."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        genuine = cluster.hold(Data, source="a", target="b")
        cluster.send("a", "hello")
        cluster.until(lambda: bool(genuine.caught), "the sending")
        target, received = genuine.caught[0]
        envelope: Envelope = received.message
        forged = msgspec.structs.replace(envelope.body, stamp=stamp_of(EPOCH_NS + 10 * YEARS))
        cluster.world.arrive(target, Received(received.source, Envelope(envelope.cluster, envelope.sender, forged)))
        cluster.run(0.01)
        assert cluster.world.notes["clock.refused"] == 1
        cluster.let_go(genuine)
        cluster.until_all_deliver("abc", "hello")
        cluster.send("b", "answer")
        cluster.until_all_deliver("abc", "answer")
        assert all(wall_ms(d.stamp) <= wall_ms(stamp_of(EPOCH_NS + 10 * SECOND)) for d in cluster.log("b", Delivered))


# --- 27: repetitions, and messages of other times ---------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_everything_that_arrives_twice_counts_once(order: Order) -> None:
    """SCENARIOS 27: all that was said in a view change and in a view comes again, late."""
    with Cluster("abc", group_of(order)) as cluster:
        everything = cluster.copy(object)
        cluster.until_members("abc")
        cluster.send("a", "one", "two")
        cluster.send("b", "three")
        cluster.until_all_deliver("abc", "one", "two", "three")
        cluster.crash("c")
        cluster.until_members("ab")
        views, before = len(cluster.views()), cluster.deliveries("a")
        assert cluster.let_go(everything) > 30
        cluster.run(0.3)
        assert (len(cluster.views()), cluster.deliveries("a")) == (views, before)
        cluster.restart("c")
        cluster.converge("abc")


def test_an_older_incarnation_is_not_listened_to() -> None:
    """SCENARIOS 27: its votes, rows and data come after its successor was let in."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        of_c = cluster.copy(Data, Row, Prepare, Promise, Accepted, source="c")
        cluster.send("c", "old")
        cluster.until_all_deliver("abc", "old")
        cluster.crash("c")
        cluster.until_members("ab")
        cluster.restart("c")
        cluster.until_members("abc")
        views, before = len(cluster.views()), cluster.deliveries("a")
        assert cluster.let_go(of_c) > 3
        cluster.run(0.3)
        assert (len(cluster.views()), cluster.deliveries("a")) == (views, before)
        cluster.converge("abc")


def test_messages_of_an_older_view_change_nothing_in_the_next() -> None:
    """SCENARIOS 27: data and rows of one view reach members that have installed its successor."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        late = cluster.hold(Data, Row, source="b", target="c")
        cluster.send("b", "held up")
        cluster.run(0.01)
        cluster.crash("d")
        cluster.until(lambda: cluster.members("a") == cluster.members("c") == "abc", "a view of abc")
        assert cluster.let_go(late) > 0
        cluster.until_all_deliver("abc", "held up")
        assert cluster.deliveries("c").count("held up") == 1
        cluster.restart("d")
        cluster.converge("abcd")


def test_one_that_hears_of_a_future_view_asks_and_is_told() -> None:
    """SCENARIOS 27: the decision was lost on its way; a row of the next view says that there is one."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        lost = cluster.drop(Accepted, Commit, target="c")
        cluster.crash("d")
        cluster.until(lambda: cluster.members("a") == cluster.members("b") == "abc", "a view of abc")
        assert cluster.members("c") == "abcd"
        cluster.send("a", "of the future")
        cluster.run(0.05)
        assert cluster.members("c") == "abcd" and "of the future" not in cluster.deliveries("c")
        assert cluster.world.notes["behind.asked"] > 0
        lost.lift()
        cluster.until_members("abc", within=0.5)
        cluster.until_all_deliver("abc", "of the future")
        cluster.restart("d")
        cluster.converge("abcd")


@pytest.mark.parametrize("order", ORDERS)
def test_a_connection_that_breaks_again_and_again_loses_and_doubles_nothing(order: Order) -> None:
    """SCENARIOS 27: broken and resumed in mid stream, while fragments of large payloads are under way."""
    with Cluster("abc", group_of(order), limits=Limits(batch=50)) as cluster:
        cluster.until_members("abc")
        sent = []
        nodes = cluster.world.nodes
        for i in range(40):
            sent.append(cluster.send("abc"[i % 3], f"m{i} " + "." * (i % 5 * 60)))
            cluster.world.network.reset(nodes["a"], nodes["bc"[i % 2]])
            cluster.run(0.0008)
        at_once = cluster.timing.resend_after / SECOND / 2
        cluster.until_all_deliver("abc", *sent, within=at_once)  # nobody waits until it is time to send again
        assert all(sorted(cluster.deliveries(n)) == sorted(sent) for n in "abc")
        assert len(cluster.views()) == 1, "a broken connection is no reason for a view change"


def test_a_request_for_a_group_that_is_not_hosted_here_does_nothing() -> None:
    """SCENARIOS 19: the group went with the view; its last requests come after."""
    with Cluster("ab") as cluster:
        cluster.until_members("ab")
        cluster.world.request("a", Multicast(12345, (b"nobody",)))
        cluster.run(0.1)
        assert cluster.world.notes["multicast.no_seat"] == 1
