"""Linearizable reads while views change (SCENARIOS 29).  Each is checked: it sees what was acknowledged."""

import pytest

from phalanx.group.messages import Accepted, Commit, Fetch
from phalanx.model.view import Order
from tests.group.cluster import Cluster, group_of

LEASES = pytest.mark.parametrize("lease_ms", [0, 200])


@LEASES
@pytest.mark.parametrize("dies", ["a", "c"])
def test_reads_during_a_view_change_see_all_that_was_acknowledged(dies: str, lease_ms: int) -> None:
    """SCENARIOS 29: at every member, every half millisecond, with writes under way."""
    with Cluster("abcd", group_of(Order.TOTAL, lease_ms=lease_ms)) as cluster:
        cluster.until_members("abcd")
        survivors = "abcd".replace(dies, "")
        reads = []
        for i in range(80):
            if i == 20:
                cluster.crash(dies)
            cluster.send(survivors[i % 3], f"m{i}")
            reads += [cluster.read(name) for name in survivors]
            cluster.run(0.0005)
        cluster.until_members(survivors)
        cluster.until(lambda: all(r.reached is not None for r in reads), "answers", within=2.0)
        assert all(r.reached for r in reads), "a survivor answers in the end"
        assert any(r.owed for r in reads)
        cluster.restart(dies)
        cluster.converge("abcd")


@LEASES
def test_a_member_that_was_cut_off_answers_no_read(lease_ms: int) -> None:
    """SCENARIOS 29: an excluded member, before and after it knows."""
    with Cluster("abc", group_of(Order.TOTAL, lease_ms=lease_ms)) as cluster:
        cluster.until_members("abc")
        cluster.partition("ab", "c")
        cluster.until_members("ab")
        cluster.send("a", "without c")
        cluster.until_all_deliver("ab", "without c")
        unaware = cluster.read("c")
        cluster.run(2)
        assert unaware.reached is None, "it waits for a quorum that it does not hear"
        cluster.heal()
        cluster.until_members("abc")
        assert unaware.reached is not True
        after = cluster.read("c")
        cluster.until(lambda: after.reached is True, "an answer", within=1.0)
        assert cluster.deliveries("c") == ["without c"]


@LEASES
def test_one_that_has_not_installed_the_view_of_the_others_answers_when_it_has(lease_ms: int) -> None:
    """SCENARIOS 29; ARCHITECTURE decision 5: writes are acknowledged in a view that it does not know yet."""
    with Cluster("abcd", group_of(Order.TOTAL, lease_ms=lease_ms)) as cluster:
        cluster.until_members("abcd")
        unheard = cluster.drop(Accepted, Commit, target="c")
        cluster.crash("d")
        cluster.until(lambda: cluster.members("a") == cluster.members("b") == "abc", "a view of abc")
        early = cluster.read("c")
        cluster.send("a", "of the new view")
        cluster.run(0.1)
        late = cluster.read("c")
        cluster.run(0.02)
        assert (early.reached, late.reached) == (None, None), "it is frozen"
        unheard.lift()
        cluster.until(lambda: bool(early.reached and late.reached), "answers", within=1.0)
        cluster.restart("d")
        cluster.converge("abcd")


@LEASES
def test_installing_a_view_that_was_succeeded_already_answers_no_read(lease_ms: int) -> None:
    """SCENARIOS 29; ARCHITECTURE decision 5: p learns of V2 with it when V3 without it has acknowledged a write."""
    with Cluster("abcde", group_of(Order.TOTAL, lease_ms=lease_ms)) as cluster:
        cluster.until_members("abcde")
        decision = cluster.hold(Accepted, Commit, target="d")
        cluster.crash("e")
        cluster.until(lambda: cluster.members("a") == cluster.members("b") == cluster.members("c") == "abcd", "V2")
        question = cluster.read("d")
        cluster.partition("abc", "d", "e")
        cluster.until_members("abc")
        cluster.send("a", "acknowledged in V3")
        cluster.until_all_deliver("abc", "acknowledged in V3")
        second = cluster.read("d")
        cluster.let_go(decision)
        cluster.run(1)
        assert cluster.members("d") == "abcd", "it installs V2"
        assert (question.reached, second.reached) == (None, None)
        cluster.heal()
        cluster.restart("e")
        cluster.converge("abcde")


def test_one_question_serves_all_reads_of_a_turn_and_logs_nothing() -> None:
    """DESIGN section 9: reads send rows, never data."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.send("a", "x")
        cluster.until_all_deliver("abc", "x")
        cluster.run(0.03)
        sent = cluster.world.network.sent
        reads = [cluster.read("b") for _ in range(100)]
        cluster.run(0.002)
        assert all(r.reached for r in reads)
        assert cluster.world.network.sent - sent <= 8, "one row to each, and the answers"
        assert not any(node.outbox for node in cluster.world.nodes.values())


def test_learners_hold_no_lease_so_a_view_change_does_not_wait_for_theirs() -> None:
    """DESIGN section 9: learners answer no reads.  A leave, which voids its own lease, costs no lease of 5 s."""
    with Cluster("abcd", group_of(Order.TOTAL, lease_ms=5000), founders="abc", late="d") as cluster:
        cluster.until_members("abc")
        cluster.drop(Fetch, source="d")  # it stays a learner
        cluster.restart("d")
        cluster.until(lambda: cluster.learners("a") == "d", "a learner")
        cluster.run(0.2)
        cluster.leave("c")
        cluster.until(lambda: "c" not in cluster.members("a"), "a view without c, which left", within=2)
