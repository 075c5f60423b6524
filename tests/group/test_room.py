"""Disks that run out of room (SCENARIOS 8): who steps back, what goes on, and how it comes back (group/room.py)."""

import pytest

from phalanx.group.messages import Ceiling, Data, Row
from phalanx.model.clock import SECOND
from phalanx.model.signals import Space
from phalanx.model.view import Group, GroupSpec
from phalanx.parts.room import refusal, stepping_back, takes_what_frees
from tests.group.cluster import Cluster
from tests.group.durables import D, cluster_of, sent

LOTS = 1_000


def fill(cluster: Cluster, names: str, left: int = LOTS) -> None:
    """There is little left on these disks, and their nodes know."""
    for name in names:
        cluster.world.disks.fill(cluster.world.nodes[name], left, warned=True)


def fill_suddenly(cluster: Cluster, names: str) -> None:
    """Nothing is left, and nobody was warned."""
    for name in names:
        cluster.world.disks.fill(cluster.world.nodes[name], 0, warned=False)


def clear(cluster: Cluster, names: str) -> None:
    for name in names:
        cluster.world.disks.clear(cluster.world.nodes[name])


def hosts(cluster: Cluster, name: str) -> str:
    group = cluster.group(name)
    return "".join(group.hosts) if group is not None else ""


def batches(cluster: Cluster, name: str) -> int:
    return sum(isinstance(record, Data) for record in cluster.world.nodes[name].log)


def test_a_host_that_runs_short_of_room_steps_back_and_keeps_its_vote() -> None:
    """SCENARIOS 8: the others go on writing, and nothing more goes to its disk but what the protocol must write."""
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "before")
        fill(cluster, "a")
        cluster.until(lambda: hosts(cluster, "b") == "bc", "a group without a")
        assert cluster.members("b") == "abc"
        held = batches(cluster, "a")
        sent(cluster, "b", *(f"{n}" for n in range(20)))
        cluster.run(10)
        assert batches(cluster, "a") == held
        assert hosts(cluster, "b") == "bc"
        clear(cluster, "a")
        cluster.converge("abc")
        assert cluster.deliveries("a") == cluster.deliveries("b")


def test_what_a_host_without_room_missed_is_sent_and_not_the_whole_state() -> None:
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        fill(cluster, "c")
        cluster.until(lambda: hosts(cluster, "a") == "ab", "a group without c")
        rule = cluster.copy(Data, target="c")
        sent(cluster, "a", *(f"{n}" for n in range(20)))
        cluster.run(5)
        assert not rule.caught, "it is sent nothing that it cannot take"
        clear(cluster, "c")
        cluster.converge("abc")
        assert cluster.world.notes["transfer.done"] == 0


def test_a_log_that_refuses_everything_holds_nobody_up() -> None:
    """Its node cannot even promise: it goes on as a learner, like one whose disk hangs, but at once."""
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        fill_suddenly(cluster, "a")
        began = cluster.world.now
        sent(cluster, "b", "without a")
        assert cluster.world.now - began < 2 * SECOND
        assert cluster.members("b") == "bc" and cluster.learners("b") == "a"
        views = len(cluster.views())
        cluster.run(20)
        assert len(cluster.views()) == views, "nobody tries to promote it again and again"
        clear(cluster, "a")
        cluster.converge("abc")
        assert cluster.deliveries("a") == cluster.deliveries("b")


def test_what_waits_for_a_full_disk_stays_bounded() -> None:
    """A limit on everything: a learner without room takes no batches, so none wait for its disk."""
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        fill_suddenly(cluster, "c")
        sent(cluster, "a", "first")
        cluster.until(lambda: cluster.learners("a") == "c", "a view without c")
        waiting = len(cluster.world.nodes["c"].appends)
        for n in range(30):
            sent(cluster, "a", f"{n}")
        cluster.run(10)
        more = [r for r in cluster.world.nodes["c"].appends[waiting:] if not isinstance(r, Ceiling)]
        assert not [record for record in more if isinstance(record, Data)]
        clear(cluster, "c")
        cluster.converge("abc")


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_where_too_few_would_be_left_nobody_steps_back(names: str) -> None:
    """The reserve is there for that: the group can still take what frees space."""
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        fill(cluster, names)
        cluster.run(5)
        assert hosts(cluster, "c") == "abc"
        assert set(cluster.machine("c").short) == set(names)
        sent(cluster, "c", "what frees space")
        clear(cluster, names)
        cluster.run(1)
        assert not cluster.machine("c").short


def test_a_group_keeps_the_copies_that_it_wants() -> None:
    with cluster_of("abc", spec=GroupSpec("g", durable=True, min_copies=3)) as cluster:
        cluster.until_members("abc")
        fill(cluster, "a")
        cluster.run(5)
        assert hosts(cluster, "b") == "abc"
        clear(cluster, "a")
        cluster.converge("abc")


def test_groups_in_memory_need_no_room() -> None:
    with Cluster("abc", GroupSpec("m"), D) as cluster:
        cluster.until_members("abc")
        fill(cluster, "a")
        cluster.until(lambda: hosts(cluster, "b") == "bc", "a group without a")
        memory = cluster.group("b", "m")
        assert memory is not None and "".join(memory.hosts) == "abc"
        cluster.send("a", "from memory", group="m")
        cluster.until_all_deliver("abc", "from memory", group="m")
        clear(cluster, "a")
        cluster.converge("abc")


def test_a_new_node_without_room_waits_and_takes_no_state() -> None:
    with Cluster("abcd", D, founders="abc", late="d") as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "state")
        fill(cluster, "d")
        cluster.restart("d")
        cluster.run(10)
        assert cluster.learners("a") == "d"
        assert cluster.world.notes["transfer.done"] == 0
        clear(cluster, "d")
        cluster.converge("abcd")


def test_a_node_that_restarts_with_a_full_disk_comes_back_when_there_is_room() -> None:
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "before")
        fill(cluster, "a", left=0)
        sent(cluster, "b", "meanwhile")
        cluster.crash("a")
        cluster.restart("a")
        cluster.until(lambda: hosts(cluster, "b") == "bc", "a group without a")
        sent(cluster, "b", "later")
        clear(cluster, "a")
        cluster.converge("abc")
        assert cluster.deliveries("a") == cluster.deliveries("b")


def test_all_restart_with_disks_that_are_low_and_nothing_is_lost() -> None:
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "before")
        fill(cluster, "abc")
        cluster.run(1)
        cluster.crash("a", "b", "c", host=True)
        cluster.restart("a", "b", "c")
        cluster.until_members("abc")
        assert all(cluster.deliveries(name) == ["before"] for name in "abc")
        clear(cluster, "abc")
        cluster.converge("abc")


def test_a_disk_that_is_neither_ample_nor_low_nor_full_is_refused() -> None:
    """SCENARIOS 41: nobody says that."""
    with cluster_of("abc") as cluster:
        cluster.until_members("abc")
        rule = cluster.hold(Row, source="a", target="b")
        cluster.until(lambda: bool(rule.caught), "a row")
        rule.lift()
        [(target, received), *_] = rule.caught
        row = received.message.body
        strange = type(row)(*(getattr(row, field) for field in row.__struct_fields__[:-1]), 3)
        message = type(received.message)(received.message.cluster, received.message.sender, strange)
        cluster.world.arrive(target, type(received)(received.source, message))
        cluster.run(0.1)
        assert cluster.world.notes["fault"] == 1


# --- the rule itself


def group(hosts: str, learners: str = "", copies: int = 1, *, durable: bool = True) -> Group:
    return Group(1, GroupSpec("g", durable=durable, min_copies=copies), tuple(hosts), tuple(learners))


@pytest.mark.parametrize(
    ("place", "short", "going"),
    [
        (group("abc"), "a", "a"),
        (group("abc"), "ab", ""),
        (group("ab"), "a", ""),
        (group("a"), "a", ""),
        (group("abcde"), "ae", "ae"),
        (group("abcde"), "abc", ""),
        (group("bc", "a"), "ab", ""),
        (group("bc", "a"), "a", ""),
        (group("abc", copies=2), "a", "a"),
        (group("abc", copies=3), "a", ""),
        (group("abc", durable=False), "a", ""),
    ],
)
def test_who_steps_back(place: Group, short: str, going: str) -> None:
    assert stepping_back(place.spec, place.hosts, len(place.everyone), short) == set(going)


def test_a_group_says_why_it_takes_no_writes() -> None:
    assert refusal(group("abc"), {}) is None
    assert refusal(group("abc"), {"a": Space.FULL}) is None, "it steps back"
    assert refusal(group("bc", "a"), {"a": Space.FULL}) is None, "it has"
    why = refusal(group("abc"), {"a": Space.FULL, "b": Space.LOW})
    assert why is not None and "a (full), b (low)" in why
    assert refusal(group("bc", "a", copies=3), {"a": Space.LOW}) is not None, "too few are left without it"
    assert refusal(group("abc", durable=False), {"a": Space.FULL, "b": Space.FULL}) is None


def test_what_frees_space_is_taken_out_of_the_reserve() -> None:
    assert takes_what_frees(group("abc"), {"a": Space.LOW, "b": Space.LOW})
    assert not takes_what_frees(group("abc"), {"a": Space.LOW, "b": Space.FULL})
    assert takes_what_frees(group("bc", "a"), {"a": Space.FULL})
