"""The counter-examples of DESIGN section 13 that are about views: who is in, who votes, what a vote outlives.

Read `test_counterexamples` first."""

from phalanx.group.messages import (
    Accept,
    Accepted,
    Alive,
    Ballot,
    Commit,
    Envelope,
    Prepare,
    Row,
)
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Excluded
from phalanx.model.machine import Received
from tests.group.cluster import Cluster
from tests.group.rules import shown, without


def test_5_joiners_without_state_do_not_outvote_the_one_that_has_it() -> None:
    """Joiners without state outvote the one that has it."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            cluster.until_members("abc")
            cluster.send("a", "m")
            cluster.until_all_deliver("abc", "m")
            cluster.crash("b", "c")
            cluster.restart("b", "c")
            cluster.until(lambda: cluster.views()[-1].id == 2, "the next view")
            cluster.pause("a")
            cluster.run(5.0)
            cluster.resume("a")
            cluster.converge("abc")
            assert "m" in cluster.deliveries("a"), "m is lost, though a never failed"

    shown(schedule, "restarted voters are full members", wrong="m is lost")


def test_5_joiners_that_crash_at_once_stop_nobody() -> None:
    """Joiners that crash before the commit leave the old members without a quorum."""

    def schedule() -> None:
        with Cluster("abcd", founders="a") as cluster:
            silent = cluster.drop(Row, source="bcd")  # nobody is promoted while nobody knows that they are ready
            cluster.until(lambda: len(cluster.learners("a")) == 3, "three learners")
            cluster.run(0.1)
            silent.lift()
            cluster.until(lambda: len(cluster.members("a")) > 1, "a promotion")
            cluster.crash("b", "c", "d")
            cluster.until_members("a")

    shown(schedule, "any number is promoted at once", wrong="a view of a did not come")


def test_13_all_of_the_listed_founders_found_the_cluster_or_none() -> None:
    """Two of three listed peers found a cluster, and after a restart another two found another."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            cluster.partition("ab", "c")
            cluster.run(2.0)
            cluster.crash("b", wipe=True)
            cluster.heal()
            cluster.partition("a", "bc")
            cluster.restart("b")
            cluster.run(2.0)
            clusters = {view.cluster for view in cluster.views()}
            assert len(clusters) <= 1, "there are two clusters"
            cluster.heal()
            cluster.converge("abc")

    shown(schedule, "most of the founders found a cluster", wrong="there are two clusters")


def test_9_an_excluded_member_passes_on_the_decision_that_only_it_knows() -> None:
    """The decision reaches only an excluded member: c alone learns that a and b go on without it; then b dies, and
    nobody else can tell a."""

    def schedule() -> None:
        with Cluster("abc", returns=False) as cluster:
            cluster.until_members("abc")
            cluster.drop(Accepted, source="ab", target="ab")
            mute = cluster.drop(object, source="c")
            cluster.until(lambda: bool(cluster.log("c", Excluded)), "the decision")
            assert [view.id for view in cluster.views()] == [1]
            cluster.crash("b")
            mute.lift()
            cluster.until_members("a")

    shown(schedule, "the excluded keep the decision to themselves", wrong="a view of a did not come")


def decided_by_a_alone(cluster: Cluster) -> None:
    """a and c accept a view of theirs; a alone learns that it is decided, installs it, and is cut off."""
    cluster.until_members("abc")
    cut_off = [cluster.drop(object, source="b"), cluster.drop(object, target="b")]
    cut_off.append(cluster.drop(Accepted, Commit, Alive, Row, source="a", target="c"))
    cluster.until(lambda: cluster.members("a") == "ac", "a view of a and c")
    for rule in cut_off:
        rule.lift()
    cluster.partition("a", "bc")


def test_9_a_value_that_may_be_decided_is_adopted() -> None:
    """The decision reaches only one member of the new view, which then dies."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            decided_by_a_alone(cluster)
            cluster.run(2.0)
            cluster.check()
            cluster.heal()
            cluster.converge("abc")

    shown(schedule, "an accepted value is not adopted", wrong="view_agreement")


def test_12_an_acceptance_outlives_its_process() -> None:
    """The last acceptance is "a torn tail": two successors of one view."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            decided_by_a_alone(cluster)
            cluster.crash("c")
            cluster.restart("c")
            cluster.run(2.0)
            cluster.check()
            cluster.heal()
            cluster.converge("abc")

    shown(schedule, "an acceptance is not written down", wrong="view_agreement")


def test_16_a_member_that_hears_nobody_freezes_nobody() -> None:
    """A member that can send but not hear prepares again and again and freezes everybody for ever."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            cluster.until_members("abc")
            world, deaf = cluster.world, cluster.machine("c").me
            for node in world.nodes.values():
                node.disk_extra_ns = 30 * MILLISECOND
            view = cluster.views()[-1]
            cluster.drop(object, target="c")
            for counter in range(1, 100):
                prepare = Prepare(view.id, Ballot(counter * 100, "c", deaf.incarnation), 0b100)
                received = Received("c", Envelope(view.cluster, deaf, prepare))
                for node in (world.nodes["a"], world.nodes["b"]):
                    world.schedule(counter * 50 * MILLISECOND, world.arrive, node, received)
            cluster.send("a", "m")
            cluster.until_all_deliver("ab", "m", within=4)

    shown(schedule, "anyone may freeze the others", wrong="did not come within 4 s")


def test_16_a_coordinator_with_a_hung_disk_is_replaced() -> None:
    """A member with a hung disk answers heartbeats for ever: a coordinates, and waits for its own promise."""

    def schedule() -> None:
        with Cluster("abcd", founders="abc", late="d") as cluster:
            cluster.until_members("abc")
            cluster.world.nodes["a"].disk_extra_ns = 1000 * SECOND
            cluster.restart("d")
            cluster.until_members("bcd", within=10)

    shown(schedule, "a hung disk does not show", wrong="a view of bcd did not come")


def test_16_a_coordinator_whose_values_do_not_arrive_is_replaced() -> None:
    """Small messages pass and ACCEPT does not (a path that loses large packets): each new ballot of a is promised, which
    must not count as progress."""
    with Cluster("abcd", founders="abc", late="d") as cluster:
        cluster.until_members("abc")
        cluster.drop(Accept, source="a")
        cluster.restart("d")
        cluster.run(10)
        assert len(cluster.views()) > 1, cluster.status()


def test_12_a_promise_outlives_its_process() -> None:
    """The same for a promise: c promises b's ballot, crashes, and then accepts what a proposed at an older one; and
    what b proposes as well."""

    def schedule() -> None:
        with Cluster("abcd", founders="abc", late="d") as cluster:
            cluster.until_members("abc")
            older = cluster.hold(Accept, source="a", target="c")
            apart = [cluster.drop(object, source="a", target="b"), cluster.drop(object, source="b", target="a")]
            cluster.restart("d")
            cluster.until(lambda: bool(older.caught), "a value from a")
            apart.append(cluster.drop(object, source="ad", target="c"))
            newer = cluster.hold(Accept, source="b", target="c")
            cluster.until(lambda: bool(newer.caught), "a value from b")
            cluster.crash("c")
            cluster.restart("c")
            cluster.run(0.002)
            cluster.let_go(older)
            cluster.run(0.002)
            cluster.let_go(newer)
            cluster.run(0.01)
            cluster.check()
            for rule in apart:
                rule.lift()
            cluster.converge("abcd")

    shown(schedule, "a promise is not written down", wrong="view_agreement")


def a_ballot_told_before_it_is_durable() -> None:
    """a proposes, and b accepts; a crashes before a vote of its own was durable (with seed 2 its disk keeps nothing of
    the write under way), and makes its first ballot again, to which the others answer while b is paused; then b counts
    the votes for that ballot, its own last."""
    with Cluster("abcdef", founders="abcde", late="f", seed=2) as cluster:
        cluster.until_members("abcde")
        nodes = cluster.world.nodes
        first = cluster.hold(Accept, source="a", target="b")
        rules = [cluster.drop(Accept, source="a", target="cde"), cluster.drop(Accepted, source="b")]
        nodes["a"].disk_extra_ns = 2 * SECOND
        cluster.restart("f")
        cluster.run(0.1)
        nodes["b"].disk_extra_ns = 20 * MILLISECOND
        cluster.let_go(first)
        cluster.run(0.005)
        cluster.pause("b")
        cluster.crash("a")
        rules.append(cluster.drop(Alive, target="a"))
        cluster.drop(object, source="ae", target="b")
        nodes["a"].disk_extra_ns = 0
        cluster.restart("a")
        cluster.run(0.001)
        for rule in rules:
            rule.lift()
        cluster.run(2.0)
        cluster.resume("b")
        cluster.run(0.05)


def test_18_a_ballot_is_not_used_twice() -> None:
    """A ballot reused by a coordinator that crashed before its own vote was durable.  Two rules answer it, and each
    suffices: a ballot has the incarnation in it, and a coordinator asks for its own promise, which is on its disk before
    anything that it sends later leaves."""
    rules = ("a ballot has no incarnation", "a coordinator makes itself no promise")
    for one in rules:
        with without(one):
            a_ballot_told_before_it_is_durable()
    shown(a_ballot_told_before_it_is_durable, *rules, wrong="view_agreement")
