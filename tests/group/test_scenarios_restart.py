"""Votes across restarts, shrinking and total crash, wrong addresses (SCENARIOS 2, 20, 21)."""

import pytest

from phalanx.group.messages import Accepted, Commit, Nack, Prepare, Promise, Votes
from phalanx.model.clock import SECOND
from phalanx.model.events import Delivered
from tests.group.cluster import Cluster


def votes(cluster: Cluster, name: str) -> Votes:
    durable = cluster.world.nodes[name].durable
    assert isinstance(durable, Votes)
    return durable


# --- 2: promises and votes outlive their process ----------------------------------------------------------------------


def test_a_promise_outlives_its_process_and_an_older_ballot_is_refused() -> None:
    """SCENARIOS 2: c has promised b's ballot when it crashes; what comes late then is a's, which is older."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        older = cluster.hold(Prepare, source="a", target="bcd")
        unheard = cluster.drop(Promise, source="c")
        cluster.crash("e", host=True)
        cluster.until(lambda: bool(older.caught), "a ballot of a")
        cluster.crash("a", host=True)
        cluster.until(lambda: votes(cluster, "c").promised is not None, "a promise")
        promised = votes(cluster, "c").promised
        assert promised is not None and promised.name == "b"
        cluster.crash("c")
        cluster.restart("c")
        cluster.run(0.001)
        refused = cluster.copy(Nack, source="c", target="a")
        cluster.let_go(older)
        cluster.run(0.01)
        assert votes(cluster, "c").promised == promised, "it promises nothing older"
        assert {received.message.body.promised for _, received in refused.caught} == {promised}, "it says why"
        unheard.lift()
        cluster.until_members("bcd")
        cluster.restart("a", "e")
        cluster.converge("abcde")


def test_one_asked_again_in_the_ballot_that_it_promised_before_its_crash_promises_again() -> None:
    """SCENARIOS 2: the same ballot, not another answer to it."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        asked = cluster.copy(Prepare, source="a", target="b")
        unheard = cluster.drop(Promise, source="b")
        cluster.crash("c", host=True)
        cluster.until(lambda: votes(cluster, "b").promised is not None, "a promise")
        promised = votes(cluster, "b").promised
        cluster.crash("b", host=True)
        cluster.restart("b")
        cluster.run(0.002)
        assert votes(cluster, "b").promised == promised, "the restart kept it"
        refused = cluster.copy(Nack, source="b")
        again = len(unheard.caught)
        cluster.let_go(asked)
        cluster.run(0.01)
        assert len(unheard.caught) > again or refused.caught, "it answers"
        assert all(r.message.body.ballot != promised or r.message.body.promised != promised for _, r in refused.caught)
        unheard.lift()
        cluster.restart("c")
        cluster.converge("abc")


def test_a_value_accepted_by_a_quorum_that_crashes_is_what_its_successors_install() -> None:
    """SCENARIOS 2: both of the members that accepted restart before anybody learnt of the decision."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        silence = cluster.drop(Accepted, Commit)
        cluster.crash("d")
        cluster.until(lambda: all(votes(cluster, n).accepted for n in "abc"), "acceptances")
        accepted = votes(cluster, "b").accepted
        assert accepted is not None
        cluster.crash("a", "b", host=True)
        silence.lift()
        cluster.restart("a", "b", "d")
        cluster.converge("abcd")
        assert cluster.views()[1] == accepted.value.view


@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize("step", range(1, 16))
def test_a_member_may_crash_and_restart_after_any_step_of_a_view_change(name: str, step: int) -> None:
    """SCENARIOS 2, 11: with no pause between, so it is asked again by those who asked its former life."""
    with Cluster("abcd") as cluster:
        cluster.until_members("abcd")
        died = cluster.crash_after(name, step)
        cluster.crash("d")
        cluster.world.run_while(lambda: not died(), 10**9, 10**5)
        cluster.run(0.0001)
        cluster.spare()
        cluster.restart(name, "d")
        cluster.converge("abcd")


# --- 20: down to one ----------------------------------------------------------------------------------------------


def shrink(cluster: Cluster, names: str) -> None:
    """Crash all but the first, the youngest first."""
    cluster.until_members(names)
    for count in range(len(names) - 1, 0, -1):
        cluster.crash(names[count])
        cluster.until_members(names[:count])


def test_after_shrinking_to_one_and_a_total_crash_only_that_one_brings_the_group_back() -> None:
    """SCENARIOS 20: the others voted in views that may have been succeeded, and wait."""
    with Cluster("abcd") as cluster:
        shrink(cluster, "abcd")
        last = len(cluster.views())
        cluster.crash("a")
        cluster.restart("b", "c", "d")
        cluster.run(10)
        assert len(cluster.views()) == last, "nobody makes a view that a may not know of"
        assert all(cluster.view(n) is None and cluster.machine(n).is_fenced for n in "bcd")
        cluster.restart("a")
        cluster.converge("abcd")
        assert cluster.views()[last].members[0].name == "a", "it goes on from its own view"


def test_the_last_one_comes_back_alone() -> None:
    """SCENARIOS 20."""
    with Cluster("abc") as cluster:
        shrink(cluster, "abc")
        cluster.crash("a", host=True)
        cluster.restart("a")
        cluster.until_members("a")
        cluster.restart("b", "c")
        cluster.converge("abc")


def test_after_a_total_crash_a_quorum_of_the_last_view_suffices() -> None:
    """SCENARIOS 20; DESIGN section 8: the rest joins later."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        cluster.crash(*"abcde", host=True)
        cluster.restart("b", "c")
        cluster.run(5)
        assert len(cluster.views()) == 1
        cluster.restart("e")
        cluster.until_members("bce")
        assert [m.name for m in cluster.views()[1].members] == ["b", "c", "e"], "in the old seniority"
        cluster.restart("a", "d")
        cluster.converge("abcde")


def test_a_wiped_disk_counts_for_nothing_of_the_old_one() -> None:
    """SCENARIOS 7, 20: without the vote of c, a restarted b alone is no quorum."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.crash("a", "b", "c", host=True)
        cluster.world.nodes["c"].durable = None
        cluster.founders.pop("c")  # it is not told to found a cluster again
        cluster.restart("b", "c")
        cluster.run(5)
        assert len(cluster.views()) == 1, "b and a c without memory are no quorum"
        cluster.restart("a")
        cluster.converge("abc")


def test_stamps_do_not_go_back_when_all_restart_with_clocks_set_back() -> None:
    """Counter-example 10, "a restart after a clock step": fencing tokens are made of stamps."""
    with Cluster("ab") as cluster:
        cluster.until_members("ab")
        cluster.send("a", "before")
        cluster.until_all_deliver("ab", "before")
        before = cluster.log("a", Delivered)[-1].stamp
        cluster.crash("b")
        cluster.until_members("a")
        cluster.crash("a")
        for name in "ab":
            cluster.world.nodes[name].clocks.offset_ns = -3600 * SECOND
        cluster.restart("a", "b")
        cluster.until_members("ab")
        cluster.send("a", "after")
        cluster.until_all_deliver("ab", "after")
        assert cluster.log("a", Delivered)[-1].stamp > before


# --- 21: addresses ----------------------------------------------------------------------------------------------------


def test_a_joiner_with_stale_seeds_gets_in_by_the_one_that_is_right() -> None:
    """SCENARIOS 21."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.crash("c")
        cluster.world.readdress("c", "new")
        cluster.restart("c")
        cluster.until_members("abc")
        cluster.join("d", seeds="cxyb")
        cluster.converge("abcd")


def test_a_node_that_comes_back_at_another_address_is_known_by_it() -> None:
    """SCENARIOS 21."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        for name in "abc":
            cluster.crash(name)
            cluster.until_members("abc".replace(name, ""))
            cluster.world.readdress(name, name.upper())
            cluster.restart(name)
            cluster.until_members("abc")
        view = cluster.view("a")
        assert view is not None and {m.address for m in view.members} == set("ABC")
        cluster.converge("abc")


def test_two_clusters_that_meet_by_a_wrong_address_refuse_each_other() -> None:
    """SCENARIOS 21; DESIGN section 4: the cluster id is in every frame.  z comes back where a and c look for b."""
    with Cluster("abcxyz", founders="abc xyz") as cluster:
        cluster.until_members("abc")
        cluster.until_members("xyz")
        cluster.crash("b", "z", host=True)
        cluster.world.readdress("b", "elsewhere")
        cluster.world.readdress("z", "b")
        cluster.restart("z")
        cluster.until_members("xyz")
        cluster.until_members("ac")
        cluster.run(3)
        assert cluster.world.notes["foreign"] > 0, "they met"
        cluster.restart("b")
        cluster.until_members("abc")
        cluster.converge("xyz")
        of_abc, of_xyz = cluster.view("a"), cluster.view("x")
        assert of_abc is not None and of_xyz is not None and of_abc.cluster != of_xyz.cluster


def test_members_of_a_cluster_whose_founder_lost_its_disk_and_founded_another_stay_with_the_first() -> None:
    """SCENARIOS 7, 21.  a founds alone; b and c go on without it, and come back while it alone answers their wishes; then
    c comes with a new disk, and with no cluster to be true to joins whichever it is told to."""
    with Cluster("abc", founders="a") as cluster:
        cluster.until_members("abc")
        first = cluster.view("b")
        cluster.crash("a", wipe=True)
        cluster.until_members("bc")
        cluster.restart("a")
        cluster.until_members("a")
        cluster.send("a", "of the second")
        cluster.send("b", "of the first")
        cluster.crash("b", "c")
        cluster.restart("b")
        cluster.run(3)
        assert cluster.view("b") is None, "half of the first, and not the eldest: it waits"
        assert cluster.world.notes["join.foreign"] + cluster.world.notes["foreign"] > 0, "they met"
        cluster.restart("c")
        cluster.until_members("bc")
        second, found = cluster.view("a"), cluster.view("c")
        assert first is not None and second is not None and found is not None
        assert found.cluster == first.cluster != second.cluster
        cluster.crash("c", wipe=True)
        cluster.restart("c")
        cluster.until_members("ac")
        cluster.until_all_deliver("ac", "of the second")
