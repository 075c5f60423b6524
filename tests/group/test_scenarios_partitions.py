"""Partial partitions, flapping links, pauses, partitions that heal at a bad moment (SCENARIOS 14 to 18)."""

import pytest

from phalanx.group.messages import Accepted, Ack, Promise, Row
from phalanx.model.view import GroupSpec, Order
from tests.group.cluster import Cluster, G, group_of

VIEWS_MAX = 6
"""Views of a cluster whose network breaks once and stays broken: birth, eviction or demotion, the evicted return as
learners.  More would be oscillation."""


def settled(cluster: Cluster, at: str, seconds: float = 10.0) -> str:
    """The full members that `at` ends up with, after it was shown that views have stopped changing."""
    cluster.run(5)
    views = len(cluster.views())
    assert views <= VIEWS_MAX, cluster.status()
    cluster.run(seconds)
    assert len(cluster.views()) == views, f"views still change: {cluster.status()}"
    return cluster.members(at)


# --- 14: partial partitions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "cuts", "kept"),
    [
        ("abc", ["ab"], "ac"),
        ("abc", ["bc"], "ab"),
        ("abcde", ["ab"], "acde"),
        ("abcde", ["ac", "bc"], "abde"),
        ("abcde", ["ad", "ae", "bd", "be"], "abc"),
        ("abcd", ["ab", "bc", "cd", "da"], "ac"),
        ("abcdef", ["ab", "bc", "cd", "de", "ef", "fa"], "ace"),
        ("abcdef", ["ce"], "abcdf"),
        ("abcd", ["bc", "ab", "ac"], "ad"),
        ("abcde", ["ad", "ae", "de"], "abc"),
        ("abcdef", ["ae", "ad"], "bcdef"),
        ("abcdef", ["af", "ad", "df"], "abce"),
    ],
    ids=[
        "cut from the eldest",
        "cut of the young",
        "one of five",
        "two cuts at one",
        "bridge",
        "ring of 4",
        "ring of 6",
        "one of six",
        "three that cannot talk",
        "two that the eldest does not hear, nor each other",
        "the eldest",
        "two of six that the eldest does not hear, nor each other",
    ],
)
@pytest.mark.parametrize("seed", [1, 64])
def test_a_partial_partition_costs_the_smallest_eviction(names: str, cuts: list[str], kept: str, seed: int) -> None:
    """SCENARIOS 14; DESIGN section 6: the largest set that can all talk, elders preferred, and no endless changes."""
    with Cluster(names, seed=seed) as cluster:
        cluster.until_members(names)
        for link in cuts:
            cluster.cut(*link)
        assert settled(cluster, kept[0]) == kept
        cluster.send(kept[-1], "amid")
        cluster.until_all_deliver(kept, "amid")
        cluster.heal()
        cluster.converge(names)


def test_a_ring_of_cuts_in_which_no_quorum_can_talk_changes_no_view() -> None:
    """SCENARIOS 14: of five in a ring of cuts no three can all talk."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        for link in ("ab", "bc", "cd", "de", "ea"):
            cluster.cut(*link)
        cluster.run(10)
        assert [len(v.members) for v in cluster.views()] == [5]
        cluster.heal()
        cluster.converge("abcde")


@pytest.mark.parametrize(("names", "way", "kept"), [("abc", "ab", "ac"), ("abc", "ba", "ac"), ("abcde", "ed", "abcd")])
def test_one_way_loss_is_a_cut_link(names: str, way: str, kept: str) -> None:
    """SCENARIOS 14: a member that is heard but does not hear, or the other way round, cannot stay full."""
    with Cluster(names) as cluster:
        cluster.until_members(names)
        cluster.one_way(way[0], way[1])
        assert settled(cluster, "a") == kept
        cluster.send(kept[-1], "amid")
        cluster.until_all_deliver(kept, "amid")
        cluster.heal()
        cluster.converge(names)


@pytest.mark.parametrize("deaf", ["a", "e"])
def test_a_member_that_hears_nobody_freezes_nobody(deaf: str) -> None:
    """SCENARIOS 14; DESIGN counter-example 16: it can send, and asks for ballots, and must not get them for ever."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        for other in "abcde":
            if other != deaf:
                cluster.one_way(other, deaf)
        rest = "abcde".replace(deaf, "")
        cluster.until_members(rest)
        assert settled(cluster, rest[0]) == rest
        cluster.send(rest[0], "amid")
        cluster.until_all_deliver(rest, "amid")
        cluster.heal()
        cluster.converge("abcde")


def test_a_minority_installs_no_view_and_is_fenced() -> None:
    """SCENARIOS 14; DESIGN section 7."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        cluster.partition("ab", "cde")
        cluster.until_members("cde")
        cluster.run(3)
        assert cluster.machine("a").is_fenced and cluster.machine("b").is_fenced
        assert cluster.members("a") == cluster.members("b") == "abcde"
        lost = cluster.send("a", "of the minority")
        cluster.run(3)
        assert all(lost not in cluster.deliveries(n) for n in "abcde")
        cluster.heal()
        cluster.converge("abcde")


# --- 15: flapping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("half_period", "views_max"), [(0.1, 1), (0.3, 6), (0.8, 12), (2.0, 14)])
def test_a_flapping_link_does_not_make_the_group_oscillate(half_period: float, views_max: int) -> None:
    """SCENARIOS 15; DESIGN section 7: flapping counts against a member."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        for i in range(int(24 / half_period / 2)):
            cluster.cut("b", "c")
            cluster.run(half_period)
            cluster.heal()
            cluster.run(half_period)
            if i % 4 == 0 and "a" in cluster.members("a"):
                cluster.send("a", f"amid {i}")
        assert len(cluster.views()) <= views_max, cluster.status()
        cluster.converge("abc", within=60)


# --- 16, 17: pauses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", ["a", "c"])
@pytest.mark.parametrize("lease_ms", [0, 300])
@pytest.mark.parametrize("length", [0.35, 0.9, 3.0])
def test_a_member_paused_past_its_lease_serves_no_stale_read(paused: str, lease_ms: int, length: float) -> None:
    """SCENARIOS 16: the cluster checks each answered read against what was acknowledged before it began."""
    with Cluster("abc", group_of(Order.TOTAL, lease_ms=lease_ms)) as cluster:
        cluster.until_members("abc")
        cluster.send("b", "before")
        cluster.until_all_deliver("abc", "before")
        process = cluster.machine(paused).me
        rest = "abc".replace(paused, "")
        cluster.pause(paused)
        cluster.run(0.3)
        cluster.send(rest[0], "while it sleeps")
        cluster.run(length - 0.3)
        in_the_pause = cluster.read(paused)
        cluster.send(paused, "of one that sleeps")
        cluster.resume(paused)
        after_it = cluster.read(paused)
        cluster.converge("abc")
        assert all(r.reached is not None or cluster.machine(paused).me != process for r in (in_the_pause, after_it))
        if length > 2:
            assert cluster.machine(paused).me.incarnation > process.incarnation, "it learnt that it was out"
            assert in_the_pause.reached is not True


@pytest.mark.parametrize("paused", ["abc", "ab"])
def test_whoever_slept_does_not_take_its_own_silence_for_that_of_the_others(paused: str) -> None:
    """SCENARIOS 16: past the timeout, as when a machine is suspended with all that runs on it."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        _sleep(cluster, paused, 3)
        cluster.run(2)
        assert len(cluster.views()) == 1, cluster.status()
        assert bool(cluster.world.notes["suspects"]) == ("c" not in paused), "only c has listened in vain"
        cluster.converge("abc")


@pytest.mark.parametrize("length", [0.6, 2.5])
def test_a_machine_that_sleeps_in_the_middle_of_a_view_change_costs_none_of_its_nodes_its_place(length: float) -> None:
    """SCENARIOS 16: all nodes of a laptop, or of a test's own process, sleep with a promise under way.  The coordinator
    took its own sleep for b's, and b and c took theirs for the coordinator's."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        promise = cluster.hold(Promise, source="b", target="a")
        cluster.crash("d")
        cluster.run(0.05)
        assert cluster.world.notes["prepare"] and cluster.members("a") == "abcd"
        _sleep(cluster, "abc", length)
        cluster.run(0.05)
        cluster.let_go(promise)
        cluster.run(0.5)
        assert [cluster.members(n) for n in "abc"] == ["abc"] * 3
        assert not cluster.world.notes["coordinator.stuck"] and not cluster.world.notes["unresponsive"]
        assert {"".join(m.name for m in view.members) for view in cluster.views()} == {"abcd", "abc"}


def test_a_machine_that_sleeps_under_load_costs_none_of_its_nodes_its_place() -> None:
    """SCENARIOS 16: c's acknowledgement is under way; whoever woke took c for slow."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        shown = cluster.hold(Ack, Row, source="c")
        cluster.send("a", "under way")
        cluster.run(0.05)
        _sleep(cluster, "abc", 0.4)
        cluster.run(0.05)
        cluster.let_go(shown)
        cluster.run(1)
        assert len(cluster.views()) == 1 and not cluster.world.notes["lag"]
        cluster.converge("abc")


def _sleep(cluster: Cluster, names: str, seconds: float) -> None:
    for name in names:
        cluster.pause(name)
    cluster.run(seconds)
    for name in names:
        cluster.resume(name)


def test_a_member_with_long_callbacks_is_demoted_and_nobody_is_evicted() -> None:
    """SCENARIOS 17: pauses shorter than `suspect_after` and longer than `demote_after`, under load."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        processes = {n: cluster.machine(n).me for n in "abcd"}
        for i in range(20):
            cluster.pause("d")
            for k in range(30):
                cluster.send("a", f"{i}.{k}")
                cluster.run(0.01)
            cluster.resume("d")
            cluster.run(0.1)
        assert {n: cluster.machine(n).me for n in "abcd"} == processes, "nobody was evicted"
        for view in cluster.views():
            assert {m.name for m in view.everyone} == set("abcd")
            assert {m.name for m in view.members} >= set("abc"), "the healthy ones stay full members"
        assert any(m.name == "d" for view in cluster.views() for m in view.learners), "it was demoted"
        cluster.converge("abcd", within=60)


def test_the_only_host_of_a_group_is_not_demoted_for_its_lag() -> None:
    """The same pauses; but to go on without d would end a group that nobody has lost."""
    alone = GroupSpec("alone")
    with Cluster("abcd", G, alone, hosts=dict.fromkeys("abc", (G,))) as cluster:
        cluster.until_members("abcd")
        cluster.send("d", "kept", group="alone")
        for i in range(20):
            cluster.pause("d")
            for k in range(30):
                cluster.send("a", f"{i}.{k}")
                cluster.run(0.01)
            cluster.resume("d")
            cluster.run(0.1)
        assert len(cluster.views()) == 1, cluster.status()
        assert cluster.deliveries("d", "alone") == ["kept"]
        cluster.converge("abcd", within=60)


def test_one_long_pause_short_of_suspicion_costs_no_view_while_nothing_is_sent() -> None:
    """SCENARIOS 17."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        for _ in range(5):
            cluster.pause("c")
            cluster.run(0.4)
            cluster.resume("c")
            cluster.run(0.2)
        assert len(cluster.views()) == 1


# --- 18: heals at the moment a view change starts ---------------------------------------------------------------------


@pytest.mark.parametrize("sides", [("abc", "de"), ("de", "abc"), ("ab", "cd", "e")])
def test_a_partition_may_heal_at_any_moment_of_the_view_change_that_it_caused(sides: tuple[str, ...]) -> None:
    """SCENARIOS 18: minority and majority must not wait for each other."""
    for heal_ms in (480, 490, 495, 500, 505, 510, 520, 540, 560, 600, 650, 700):
        with Cluster("abcde") as cluster:
            cluster.until_members("abcde")
            cluster.partition(*sides)
            cluster.run(heal_ms / 1000)
            cluster.heal()
            cluster.converge("abcde")


@pytest.mark.parametrize("step", [Promise, Accepted])
def test_a_partition_that_heals_in_the_middle_of_the_view_change_is_survived(step: type) -> None:
    """SCENARIOS 18: c has asked, or has a value accepted, and the eldest can be heard again before it goes on."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        cluster.partition("ab", "cde")
        answers = cluster.hold(step, target="cde")
        cluster.until(lambda: {received.source for _, received in answers.caught} >= {"d", "e"}, "answers")
        assert len(cluster.views()) == 1
        cluster.heal()
        cluster.run(0.01)
        cluster.let_go(answers)
        cluster.converge("abcde")
