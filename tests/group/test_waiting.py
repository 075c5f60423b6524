"""Acknowledgements that nothing can be done with wait for the others: their author takes one turn for all."""

from collections.abc import Callable

import pytest

from phalanx.group.config import Limits
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ack, Data
from phalanx.model.machine import Output
from phalanx.model.view import GroupSpec, Name, Order
from phalanx.sim.node import Node
from tests.group.cluster import Cluster


def steps_of(cluster: Cluster, name: Name) -> Callable[[], int]:
    """How many steps that node has taken from now on."""
    count = 0
    step = GroupMachine.step_into
    watched = cluster.machine(name)

    def counted(out: Output, events: object, now: object) -> None:
        nonlocal count
        count += 1
        step(watched, out, events, now)  # type: ignore[arg-type]  # handed through

    watched.step_into = counted  # type: ignore[method-assign]  # to watch it
    return lambda: count


def waiting(cluster: Cluster, name: Name) -> int:
    node: Node = cluster.world.nodes[name]
    return len(node.inbox)


@pytest.mark.parametrize("order", [Order.FIFO, Order.CAUSAL, Order.TOTAL])
def test_an_author_takes_one_turn_for_all_acknowledgements(order: Order) -> None:
    with Cluster("abcd", GroupSpec("g", order, uniform=True)) as cluster:
        cluster.until_members("abcd")
        cluster.run(0.2)
        late = cluster.hold(Ack, source="d", target="a")
        steps = steps_of(cluster, "a")
        cluster.send("a", "m")
        cluster.run(0.003)
        assert (steps(), waiting(cluster, "a")) == (1, 2), "those of b and c wait for that of d"
        assert cluster.deliveries("a") == []
        assert cluster.let_go(late) == 1
        cluster.run(0.003)
        assert (steps(), waiting(cluster, "a")) == (3, 0), "the third is what the application consumed"
        assert cluster.deliveries("a") == ["m"]


def test_what_waits_is_taken_at_the_next_heartbeat_at_the_latest() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.run(0.2)
        lost = cluster.drop(Ack, source="c", target="a")
        cluster.send("a", "m")
        cluster.run(0.003)
        assert waiting(cluster, "a") == 1
        cluster.run(0.06)
        assert waiting(cluster, "a") == 0
        lost.lift()
        cluster.until_all_deliver("abc", "m")


def test_what_makes_an_earlier_batch_stable_does_not_wait_for_the_later_ones() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.run(0.2)
        cluster.send("a", "1")
        cluster.run(0.0001)
        lost = cluster.drop(Data, source="a", target="c")
        cluster.send("a", "2")
        cluster.run(0.01)
        assert cluster.deliveries("a") == ["1"]
        lost.lift()
        cluster.until_all_deliver("abc", "1", "2")


def test_nothing_waits_where_an_acknowledgement_may_open_the_window() -> None:
    with Cluster("abc", limits=Limits(window=2000)) as cluster:
        cluster.until_members("abc")
        cluster.run(0.2)
        late = cluster.hold(Ack, source="c", target="a")
        cluster.send("a", "x" * 1500)
        cluster.send("a", "y" * 1500)
        cluster.send("a", "z" * 1500)
        cluster.run(0.003)
        assert waiting(cluster, "a") == 0
        cluster.let_go(late)
        late.lift()
        cluster.until_all_deliver("abc", "x" * 1500, "y" * 1500, "z" * 1500)


@pytest.mark.parametrize("spec", [GroupSpec("g", Order.FIFO), GroupSpec("g", Order.CAUSAL)])
def test_in_a_group_that_is_not_uniform_nothing_waits(spec: GroupSpec) -> None:
    with Cluster("abc", spec) as cluster:
        cluster.until_members("abc")
        cluster.run(0.2)
        late = cluster.hold(Ack, source="c", target="a")
        cluster.send("a", "m")
        cluster.run(0.003)
        assert waiting(cluster, "a") == 0
        cluster.let_go(late)


def test_nothing_waits_while_the_view_is_not_at_rest() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.run(0.2)
        cluster.crash("c")
        cluster.send("a", "m")
        cluster.until_members("ab")
        cluster.until_all_deliver("ab", "m")
        cluster.run(0.2)
        late = cluster.hold(Ack, source="b", target="a")
        cluster.send("a", "n")
        cluster.run(0.003)
        assert waiting(cluster, "a") == 0, "there is nobody else to wait for"
        cluster.let_go(late)
        cluster.until_all_deliver("ab", "m", "n")
