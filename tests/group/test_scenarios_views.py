"""View changes: coordinators that die at every step, duels, herds of joins (SCENARIOS 10 to 13)."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from phalanx.group.config import Limits
from phalanx.group.messages import Accept, Accepted, Chunk, Commit, Decision, Promise, Votes
from tests.group.cluster import Cluster


def accepted(cluster: Cluster, name: str) -> Decision | None:
    """The value that the node's disk says it has accepted in its view."""
    votes = cluster.world.nodes[name].durable
    assert isinstance(votes, Votes)
    return votes.accepted.value if votes.accepted is not None else None


# --- 10: the coordinator dies after a quorum accepted its value -------------------------------------------------------


def test_a_coordinator_that_dies_after_a_quorum_accepted_is_succeeded_by_that_value() -> None:
    """SCENARIOS 10; DESIGN section 6: never a blend."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        silence = cluster.drop(Accepted, Commit)
        cluster.crash("e")
        cluster.until(lambda: all(accepted(cluster, n) for n in "abcd"), "acceptances")
        value = accepted(cluster, "b")
        assert value is not None
        cluster.crash("a")
        silence.lift()
        cluster.until_members("bcd")
        first, second, third = cluster.views()
        assert second == value.view, "the accepted value as it stands"
        assert ["".join(m.name for m in view.members) for view in (first, second, third)] == ["abcde", "abcd", "bcd"]
        cluster.restart("a", "e")
        cluster.converge("abcde")


def test_a_value_that_one_member_accepted_is_adopted_if_its_promise_is_counted() -> None:
    """SCENARIOS 10: it may have been decided, so it must not be replaced."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        rules = [cluster.drop(Accept, target="cd"), cluster.drop(Accepted)]
        cluster.crash("e")
        cluster.until(lambda: accepted(cluster, "b") is not None, "an acceptance")
        for rule in rules:
            rule.lift()
        value = accepted(cluster, "b")
        assert accepted(cluster, "c") is None
        assert value is not None
        cluster.crash("a")
        cluster.until_members("bcd")
        assert cluster.views()[1] == value.view


# --- 11: the coordinator dies after each single step ------------------------------------------------------------------


def by_a_join(cluster: Cluster) -> None:
    cluster.join("z")


def by_a_crash(cluster: Cluster) -> None:
    cluster.crash(cluster.names[-1])


def by_a_leave(cluster: Cluster) -> None:
    cluster.leave(cluster.names[-1])


def change_with_a_death(size: int, change: Callable[[Cluster], None], steps: int) -> str:
    """Run a view change whose coordinator dies after so many steps.  Returns the last step ("" if it lived on)."""
    with Cluster("abcde"[:size]) as cluster:
        cluster.until_members(cluster.names)
        cluster.send("a", "before")
        cluster.until_all_deliver(cluster.names, "before")
        old = cluster.names
        died = cluster.crash_after("a", steps)
        cluster.send("b", "meanwhile")
        change(cluster)
        cluster.run(0.4)
        survivors = "".join(n for n in cluster.names if cluster.is_up(n) and n not in ("a", *cluster.leavers))
        if died() and 2 * len(set(survivors) & set(old)) > size:
            cluster.until_members(survivors)
            cluster.until_all_deliver(survivors, "before")
        step = died()
        cluster.spare()
        for name in cluster.names:
            if name not in cluster.leavers:
                cluster.restart(name)
        cluster.converge("".join(n for n in cluster.names if n not in cluster.leavers))
        return step


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("change", [by_a_join, by_a_crash, by_a_leave])
def test_a_coordinator_may_die_after_any_single_step(change: Callable[[Cluster], None], size: int) -> None:
    """SCENARIOS 11: after each message to each receiver, and each write; survivors that are enough go on without it,
    and once it is back all are one view again."""
    died: list[str] = []
    while (step := change_with_a_death(size, change, len(died) + 1)) and len(died) < 100:
        died.append(step)
    kinds = {step.split()[0] for step in died}
    assert kinds >= {"write", "Prepare", "Promise", "Accept", "Accepted", "Commit"}
    assert len(died) < 100


# --- 12: duels --------------------------------------------------------------------------------------------------------


def test_two_coordinators_that_duel_and_are_paused_agree_when_they_resume() -> None:
    """SCENARIOS 12: a resumes with enough promises for a ballot that b has outbid meanwhile, and b after it."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        to_a, to_b = cluster.hold(Promise, target="a"), cluster.hold(Promise, target="b")
        cluster.crash("e", host=True)
        cluster.until(lambda: bool(to_a.caught), "promises to a")
        cluster.pause("a")
        cluster.until(lambda: bool(to_b.caught), "promises to b")
        cluster.pause("b")
        older, newer = (rule.caught[0][1].message.body.ballot for rule in (to_a, to_b))
        assert older < newer
        assert {received.source for _, received in to_a.caught} >= {"b", "c", "d"}, "enough to go on with"
        used = cluster.copy(Accept, source="a")
        cluster.let_go(to_a)
        cluster.resume("a")
        cluster.run(0.3)
        assert used.caught[0][1].message.body.ballot == older
        assert len(cluster.views()) == 1, "nobody accepts what is older than its promise"
        cluster.let_go(to_b)
        cluster.resume("b")
        cluster.restart("e")
        cluster.converge("abcde")
        assert len(cluster.views()) <= 10, "no endless duel"


@pytest.mark.parametrize(("pause", "outbid"), [(0.05, False), (0.3, False), (0.55, True), (0.7, True), (1.2, True)])
def test_a_coordinator_paused_in_its_view_change_is_outbid_and_gives_in(pause: float, outbid: bool) -> None:
    """SCENARIOS 12: if the others had time to replace it; else it goes on where it was."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        promised = cluster.hold(Promise, target="a")
        cluster.crash("e")
        cluster.until(lambda: bool(promised.caught), "promises to a")
        cluster.pause("a")
        assert len(cluster.views()) == 1, "it is in the middle of it"
        cluster.run(pause)
        cluster.let_go(promised)
        cluster.resume("a")
        cluster.until(lambda: len(cluster.views()) > 1, "the next view")
        assert "".join(m.name for m in cluster.views()[1].members) == ("bcd" if outbid else "abcd")
        cluster.restart("e")
        cluster.converge("abcde")


# --- 13: joins --------------------------------------------------------------------------------------------------------


def test_a_herd_joins_at_once_and_views_batch_it() -> None:
    """SCENARIOS 13; DESIGN section 4: at most as many are promoted at once as there are full members."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.send("a", "before")
        for name in "defghijk":
            cluster.join(name)
        cluster.until_members("abcdefghijk")
        assert all(cluster.deliveries(name) == ["before"] for name in cluster.names)
        views = cluster.views()
        assert len(views) <= 8
        for old, new in pairwise(views):
            assert len(new.members) <= 2 * len(old.members)
        cluster.converge("abcdefghijk")


def test_a_joiner_that_dies_while_joining_is_removed_and_holds_nothing_up() -> None:
    """SCENARIOS 13."""
    with Cluster("abc", limits=Limits(chunk=100)) as cluster:
        cluster.until_members("abc")
        cluster.send("a", *(f"{i}" * 200 for i in range(10)))
        chunks = cluster.hold(Chunk, target="d")
        cluster.join("d")
        cluster.until(lambda: bool(chunks.caught), "a transfer")
        cluster.world.arrive(*chunks.caught[0])
        cluster.run(0.01)
        assert len(chunks.caught) > 1 and cluster.deliveries("d") == [], "it has a part of the state"
        cluster.crash("d")
        chunks.lift()
        cluster.send("b", "meanwhile")
        cluster.until_all_deliver("abc", "meanwhile", within=1.0)
        cluster.until(lambda: cluster.members("a") + cluster.learners("a") == "abc", "its removal")
        cluster.restart("d")
        cluster.converge("abcd")


def test_a_joiner_may_ask_any_member() -> None:
    """SCENARIOS 13: one that is not the coordinator passes the wish on."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.join("d", seeds="c")
        cluster.converge("abcd")


def test_a_joiner_that_arrives_before_the_first_view_gets_in_later() -> None:
    """SCENARIOS 13."""
    with Cluster("abc", late="c") as cluster:
        cluster.join("d")
        cluster.run(2)
        assert cluster.views() == [], "all of the founders are needed"
        cluster.restart("c")
        cluster.converge("abcd")
        assert {m.name for m in cluster.views()[0].members} == set("abc")


def test_a_transfer_goes_on_with_another_donor_when_the_first_dies() -> None:
    """SCENARIOS 13; DESIGN section 8."""
    with Cluster("abcd", limits=Limits(chunk=100)) as cluster:
        cluster.until_members("abcd")
        cluster.send("a", *(f"{i}" * 200 for i in range(20)))
        held = cluster.hold(Chunk, target="e")
        cluster.join("e")
        cluster.until(lambda: bool(held.caught), "a transfer")
        receiver, first = held.caught[0]
        cluster.world.arrive(receiver, first)  # and nothing more of this donor
        held.lift()
        chunks = cluster.copy(Chunk, target="e")
        donor = first.source
        cluster.crash(donor)
        rest = "".join(n for n in "abcde" if n != donor)
        cluster.until_members(rest)
        assert cluster.deliveries("e") == cluster.deliveries(rest[0])
        assert {received.source for _, received in chunks.caught} - {donor}, "another donor gave the rest"
        cluster.restart(donor)
        cluster.converge("abcde")


def test_what_is_sent_while_a_joiner_fetches_reaches_it_once() -> None:
    """SCENARIOS 13, 19: a send that races with a join; what the snapshot covers is not delivered again."""
    with Cluster("abc", limits=Limits(chunk=50, batch=40)) as cluster:
        cluster.until_members("abc")
        cluster.send("a", *(f"early {i}" for i in range(50)))
        cluster.join("d")
        for i in range(40):
            cluster.send("abc"[i % 3], f"racing {i}", f"large {i} " + "." * 100)
            cluster.run(0.001)
        cluster.until_members("abcd")
        cluster.converge("abcd")
        assert cluster.deliveries("d") == cluster.deliveries("a")
        assert len(cluster.deliveries("d")) == 50 + 80 + 4
