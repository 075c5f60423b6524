"""Each counter-example of DESIGN section 13, as a schedule of faults that the group core survives, and that it does not
survive once the rule that answers the counter-example is taken out (`lab.mutants`).

A schedule is a function: it drives real group machines in virtual time and raises AssertionError at what must not be,
be it a property of `check.check_groups`, a stale read, an invariant of the code, or that nothing goes on.  `shown` runs
it twice, with the rule and without.  The first node of a cluster is its eldest; views begin with 1.

Members are called a to e here, where the design says 0 to 4.
"""

from collections.abc import Callable

import pytest

from phalanx.group.config import Limits
from phalanx.group.messages import (
    Accept,
    Accepted,
    Alive,
    Ballot,
    Commit,
    Data,
    Envelope,
    Prepare,
    Promise,
    Pull,
    Row,
)
from phalanx.lab.mutants import MUTANTS, planted
from phalanx.model.clock import MILLISECOND, SECOND, wall_ms
from phalanx.model.events import Consumed, Delivered, Excluded
from phalanx.model.machine import Received
from phalanx.model.view import GroupSpec, Order
from phalanx.replication.outcome import Returned
from phalanx.replication.sessions import SESSION_LIFETIME_MS, Fresh, Sessions, Verdict
from phalanx.sim.clocks import EPOCH_NS
from tests.group.cluster import Cluster, group_of

FIFO = group_of(Order.FIFO)
CAUSAL = group_of(Order.CAUSAL)


def leased(lease_ms: int) -> GroupSpec:
    return group_of(Order.TOTAL, lease_ms=lease_ms)


def shown(schedule: Callable[[], None], *without: str, wrong: str) -> None:
    """The schedule goes well; without these rules it goes wrong in this way."""
    schedule()
    with planted(*without), pytest.raises(AssertionError, match=wrong):
        schedule()


# --- the cut --------------------------------------------------------------------------------------------------------


def test_1_what_a_cut_holds_is_fetched_before_it_is_proposed() -> None:
    """0 sends m, only 2 has it; 2 proposes {1,2} with m in the cut; decided; 2 crashes: 1 must install a view whose
    messages nobody holds."""

    def schedule() -> None:
        with Cluster("abc", FIFO) as cluster:
            cluster.until_members("abc")
            lost = cluster.drop(Data, source="a", target="b")
            fetching = cluster.drop(Pull, source="b")
            cluster.send("a", "m")
            cluster.run(0.01)
            assert cluster.deliveries("c") == ["m"]
            cluster.crash("a")
            cluster.run(0.05)
            cluster.crash("c")
            lost.lift()
            fetching.lift()
            cluster.restart("a", "c")
            cluster.converge("abc")

    shown(schedule, "it accepts without gathering", wrong="a view ends only where its cut is held|a host holds the cut")


def test_2_so_too_where_most_members_do_not_host_the_group() -> None:
    """The same in a group hosted by two of five: d leaves, and its last message is in the cut that the non-hosts accept
    before e has it."""

    def schedule() -> None:
        none: tuple[GroupSpec, ...] = ()
        with Cluster("abcde", FIFO, hosts={"a": none, "b": none, "c": none}) as cluster:
            cluster.until_members("abcde")
            lost = cluster.drop(Data, source="d", target="e")
            cluster.send("d", "m")
            cluster.leave("d")
            cluster.run(0.1)
            lost.lift()
            cluster.until_members("abce")
            assert cluster.deliveries("e") == ["m"]

    shown(schedule, "it gathers for itself only", wrong="a view ends only where its cut is held|a host holds the cut")


def test_3_a_group_none_of_whose_hosts_answered_is_not_truncated_but_gone() -> None:
    """A group none of whose hosts answered gets the cut "nothing": its acknowledged writes are truncated when they
    return.  A group in memory dies with its last host, so here: what comes after it is another group, with another
    id, and whoever still holds the old one is told that it is lost."""

    def schedule() -> None:
        with Cluster("abcde", hosts={"a": (), "b": (), "c": ()}) as cluster:
            cluster.until_members("abcde")
            cluster.send("d", "m")
            cluster.until_all_deliver("de", "m")
            cluster.crash("d", "e")
            cluster.until_members("abc", groups=False)
            cluster.restart("d", "e")
            cluster.converge("abcde")

    shown(schedule, "a new group has the old id", wrong="group_identity|founding")


def test_14_what_depends_on_a_lost_message_is_dropped_with_it() -> None:
    """Causal: m2 depends on m1, m1 died with its sender and the only receiver; m2 is in the cut."""

    def schedule() -> None:
        with Cluster("abcde", CAUSAL) as cluster:
            cluster.until_members("abcde")
            lost = cluster.drop(Data, source="a", target="cde")
            cluster.send("a", "m1")
            cluster.run(0.002)
            assert cluster.deliveries("b") == ["m1"]
            cluster.send("b", "m2")
            cluster.run(0.002)
            cluster.crash("a", "b")
            lost.lift()
            cluster.until_members("cde")
            cluster.check()
            assert cluster.deliveries("c") == []

    shown(schedule, "the rest of a causal cut is delivered as it stands", wrong="causal_order")


def test_19_a_restarted_host_says_nothing_of_what_was_received() -> None:
    """A restarted host of a memory group reports "nothing received" and lowers a minimum."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            cluster.until_members("abc")
            cluster.send("a", "m")
            cluster.until_all_deliver("abc", "m")
            cluster.crash("b")
            cluster.restart("b")
            cluster.converge("abc")
            assert cluster.deliveries("b")[0] == "m"

    shown(schedule, "a restarted host has received nothing", wrong="a host holds the cut")


# --- delivery -------------------------------------------------------------------------------------------------------


def test_4_hosts_that_were_cut_off_together_do_not_go_on_alone() -> None:
    """Hosts of a memory group on a minority are cut off together, go on acknowledging, while the rest recreates the
    group: one lock, two holders."""

    def schedule() -> None:
        with Cluster("abcde", hosts={"a": (), "b": ()}) as cluster:
            cluster.until_members("abcde")
            cluster.crash("c")
            cluster.until_members("abde")
            cluster.partition("ab", "de")
            cluster.until_members("ab", groups=False)
            cluster.send("d", "m")
            cluster.run(0.3)
            cluster.heal()
            cluster.restart("c")
            cluster.converge("abcde")

    shown(schedule, "a minority of hosts delivers by itself", wrong="fencing")


def test_6_a_frozen_member_acknowledges_nothing() -> None:
    """A PREPARE is lost, 2 sends m, frozen 0 and 1 acknowledge it, 2 delivers; the cut was reported before m."""

    def schedule() -> None:
        with Cluster("abcd", founders="abc", late="d") as cluster:
            cluster.until_members("abc")
            asked = cluster.drop(Prepare, target="c")
            cluster.restart("d")
            promised = cluster.copy(Promise, source="b")
            cluster.until(lambda: bool(promised.caught), "a promise")
            cluster.send("c", "m")
            cluster.run(1.5)
            cluster.check()
            asked.lift()
            cluster.converge("abcd")

    shown(schedule, "frozen members show rows", wrong="uniformity")


def test_7_a_row_does_not_overtake_data() -> None:
    """A row overtakes data after a reconnection: p delivers timestamp 2 before it gets timestamp 1."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            cluster.until_members("abc")
            late = cluster.hold(Data, source="a", target="c")
            cluster.send("a", "1")
            cluster.run(0.01)
            cluster.send("b", "2")
            cluster.run(0.06)
            cluster.let_go(late)
            cluster.until_all_deliver("abc", "1", "2")

    shown(schedule, "a row counts at once", wrong="total_order")


def test_17_receipt_is_acknowledged_and_consumption_is_not() -> None:
    """Handlers at A and B both wait for window space: neither acknowledges, both are evicted."""

    def schedule() -> None:
        with Cluster("abc", FIFO, limits=Limits(window=64)) as cluster:
            cluster.until_members("abc")
            first = cluster.views()[-1]
            deliver = cluster.apps.deliver
            cluster.world._deliver = lambda node, it: [r for r in deliver(node, it) if not isinstance(r, Consumed)]
            for round_ in "12":
                for name in "ab":
                    cluster.send(name, f"{name}{round_} {'.' * 64}")
                cluster.run(0.1)
            cluster.run(3.0)
            assert cluster.views()[-1] == first, "somebody was evicted"
            delivered = {name: cluster.deliveries(name) for name in "abc"}
            cluster.world._deliver = deliver
            for name in "abc":
                assert len(delivered[name]) == 2, "the window is full, and open again only when this is consumed"
                group = cluster.group(name)
                assert group is not None
                cluster.world.request(name, Consumed(group.id, sum(map(len, delivered[name]))))
            cluster.converge("abc")

    shown(schedule, "consumption is what is acknowledged", wrong="somebody was evicted")


# --- who is in ------------------------------------------------------------------------------------------------------


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


# --- reads and leases -----------------------------------------------------------------------------------------------


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


# --- votes ----------------------------------------------------------------------------------------------------------


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
        with planted(one):
            a_ballot_told_before_it_is_durable()
    shown(a_ballot_told_before_it_is_durable, *rules, wrong="view_agreement")


def test_10_a_view_begins_above_every_clock_of_the_one_before() -> None:
    """A slow-clocked joiner writes below an instant that was already read: c is an hour slow."""

    def schedule() -> None:
        with Cluster("abc", founders="ab", late="c") as cluster:
            cluster.until_members("ab")
            cluster.send("a", "m")
            cluster.until_all_deliver("ab", "m")
            cluster.world.nodes["c"].clocks.offset_ns = -3600 * SECOND
            cluster.restart("c")
            cluster.until_members("abc")
            cluster.send("c", "slow")
            cluster.until_all_deliver("abc", "slow")
            stamps = [delivered.stamp for delivered in cluster.log("a", Delivered)]
            assert stamps == sorted(stamps), "time went back"

    shown(schedule, "a view begins with each member's own clock", wrong="time went back")


def test_11_a_clock_that_jumps_is_not_followed() -> None:
    """One clock jumps ten years: all leases expire, later ones never do."""

    def schedule() -> None:
        with Cluster("abc") as cluster:
            cluster.until_members("abc")
            cluster.run(0.2)
            cluster.world.nodes["b"].clocks.offset_ns = 10 * 365 * 86_400 * SECOND
            cluster.send("b", "from the future")
            cluster.until_all_deliver("abc", "from the future")
            (delivered,) = cluster.log("a", Delivered)
            ahead_ms = wall_ms(delivered.stamp) - (EPOCH_NS + cluster.world.now) // MILLISECOND
            assert ahead_ms <= cluster.timing.max_offset // MILLISECOND, "it stamps the future"

    shown(schedule, "every clock is believed", wrong="it stamps the future")


def test_15_commands_of_a_session_run_once_in_whatever_order_they_come() -> None:
    """Sessions: pipelined #5-#7 with #6 arriving before a resent #5."""

    def schedule() -> None:
        sessions = Sessions()
        assert sessions.open(1)
        for number in (6, 7, 5):
            assert sessions.begin(1, number, 5) is Fresh.FRESH, f"{number} is never run"
            sessions.record(1, number, Returned(b""))
        assert all(sessions.begin(1, number, 5) == Returned(b"") for number in (5, 6, 7))

    shown(schedule, "a session remembers its highest number only", wrong="5 is never run")


def test_15_a_command_resent_after_its_session_expired_is_not_run_again() -> None:
    """Sessions: a resend after expiry."""

    def schedule() -> None:
        sessions = Sessions()
        sessions.advance(1)
        assert sessions.open(1)
        assert sessions.begin(1, 1, 1) is Fresh.FRESH
        sessions.record(1, 1, Returned(b""))
        for third in range(1, 6):
            sessions.advance(1 + third * SESSION_LIFETIME_MS)
        assert sessions.begin(1, 1, 1) is Verdict.UNKNOWN, "it runs twice"

    shown(schedule, "an unknown session is opened", wrong="it runs twice")


def test_each_counter_example_has_its_mutants() -> None:
    """DESIGN section 13 has 19, ARCHITECTURE decision 5 one more (0)."""
    assert {mutant.number for mutant in MUTANTS.values()} == set(range(20))
