"""The counter-examples about linearizable reads: DESIGN section 13, 8, and ARCHITECTURE, decision 5.

Read `test_counterexamples` first."""

import pytest

from phalanx.group.membership import Membership
from phalanx.group.messages import (
    Accept,
    Accepted,
    Commit,
    Prepare,
    Row,
)
from phalanx.model.view import GroupSpec, Order
from tests.group.cluster import Cluster, group_of
from tests.group.rules import shown


def leased(lease_ms: int) -> GroupSpec:
    return group_of(Order.TOTAL, lease_ms=lease_ms)


def write_behind(cluster: Cluster, reader: str, writers: str) -> None:
    """Acknowledge a write at the others, then read at a member that does not know."""
    cluster.until_members(writers)
    cluster.send(writers[0], "behind its back")
    cluster.until_all_deliver(writers, "behind its back")
    cluster.read(reader)
    cluster.run(0.02)


def test_8_no_lease_is_granted_after_a_promise() -> None:
    """A lease granted after a promise: a and b have promised, go on echoing c's rows, and decide a view without c as
    soon as the leases that they know of are over."""

    def schedule() -> None:
        with Cluster("abcd", leased(900), founders="abc", late="d") as cluster:
            cluster.until_members("abc")
            cluster.drop(Prepare, Accept, target="c")
            cluster.drop(Accepted, Commit, target="c")
            cluster.restart("d")
            write_behind(cluster, "c", "ab")

    shown(schedule, "frozen members show rows", wrong="stale read")


def test_8_a_restart_does_not_forget_the_leases_it_granted() -> None:
    """A lease forgotten by a restart: e is cut off with a lease; b, c and d restart and accept a view without it."""

    def schedule() -> None:
        with Cluster("abcde", leased(1000)) as cluster:
            cluster.until_members("abcde")
            cluster.run(0.2)
            cluster.partition("abcd", "e")
            cluster.crash("b", "c", "d")
            cluster.restart("b", "c", "d")
            cluster.until(lambda: cluster.members("a") == "a", "a view of a")
            write_behind(cluster, "e", "a")

    shown(schedule, "a restart forgets the leases it granted", wrong="stale read")


def test_8_a_lease_is_counted_from_the_sending_of_the_row_that_was_echoed() -> None:
    """A lease counted from the echo's arrival: the echoes are under way until a view without c has acknowledged."""

    def schedule() -> None:
        with Cluster("abc", leased(300)) as cluster:
            cluster.until_members("abc")
            cluster.run(0.2)
            late = cluster.hold(Row, source="ab", target="c")
            cluster.drop(object, target="c")
            cluster.drop(object, source="c")
            cluster.run(0.06)
            cluster.until_members("ab")
            cluster.send("a", "behind its back")
            cluster.until_all_deliver("ab", "behind its back")
            cluster.let_go(late)
            cluster.run(0.001)
            cluster.read("c")
            cluster.run(0.02)

    shown(schedule, "a lease is counted from its echo's arrival", wrong="stale read")


def test_8_a_lease_is_judged_by_a_clock_read_after_the_pause() -> None:
    """A lease judged by a clock read before a pause: c takes the read that waited for it, with the time of before."""

    def schedule() -> None:
        with Cluster("abc", leased(400)) as cluster:
            cluster.until_members("abc")
            cluster.run(0.2)
            cluster.drop(object, target="c")
            cluster.run(0.001)
            cluster.pause("c")
            cluster.until_members("ab")
            cluster.send("a", "behind its back")
            cluster.until_all_deliver("ab", "behind its back")
            cluster.read("c")
            cluster.resume("c")
            cluster.run(0.02)

    shown(schedule, "time is read before the events are taken", wrong="stale read")


def test_8_a_lease_ends_with_its_view() -> None:
    """A lease carried into the next view: c installs V2 with a lease from V1; in V2 nobody has heard c, nobody owes it
    anything, and V3 comes without it."""

    def schedule() -> None:
        with Cluster("abcd", leased(2000)) as cluster:
            cluster.until_members("abcd")
            cluster.run(0.2)
            cluster.drop(Row, source="c")
            cluster.leave("d")
            cluster.until(lambda: cluster.views()[-1].id == 2 and cluster.view("c") == cluster.views()[-1], "V2")
            cluster.drop(object, target="c")
            cluster.drop(object, source="c")
            cluster.until(lambda: "c" not in cluster.members("a"), "V3")
            write_behind(cluster, "c", cluster.members("a"))

    shown(schedule, "a lease goes on into the next view", wrong="stale read")


def test_8_one_that_leaves_holds_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease kept by a leaver: its wish to leave voids the grants, so nobody waits for them; c never learns that it is
    out, and answers from a lease that the others do not honour."""

    def schedule() -> None:
        with Cluster("abc", leased(5000)) as cluster:
            cluster.until_members("abc")
            cluster.run(0.2)
            cluster.leave("c")
            cluster.drop(Prepare, Accept, target="c")
            cluster.drop(Accepted, Commit, target="c")
            cluster.until(lambda: cluster.members("a") == "ab", "a view without c", within=2)
            write_behind(cluster, "c", "ab")

    schedule()
    monkeypatch.setattr(Membership, "is_leaving", lambda _: False)
    with pytest.raises(AssertionError, match="stale read"):
        schedule()


def test_a_barrier_asks_again_in_the_next_view() -> None:
    """ARCHITECTURE, decision 5: c is frozen in V1; V2 with c is decided, and V3 without c, before c learns of either.  c
    asks for a read, then installs V2 and answers it, while writes have been acknowledged in V3."""

    def schedule() -> None:
        with Cluster("abcd", founders="abc", late="d") as cluster:
            cluster.until_members("abc")
            late = cluster.hold(Accepted, target="c")
            cluster.drop(Accept, Commit, target="c")
            cluster.restart("d")
            cluster.until(lambda: len(late.caught) >= 2, "V2")
            cluster.drop(object, target="c")
            cluster.drop(object, source="c")
            cluster.until(lambda: "c" not in cluster.members("a"), "V3")
            write_behind(cluster, "c", cluster.members("a"))
            cluster.let_go(late)
            cluster.run(0.02)
            view = cluster.view("c")
            assert view is not None and view.id == 2

    shown(schedule, "a barrier is reached by installing a view", wrong="stale read")
