"""Each counter-example of DESIGN section 13, as a schedule of faults that the group core survives, and that it does not
survive once the rule that answers the counter-example is taken out (`lab.mutants`).

A schedule is a function: it drives real group machines in virtual time and raises AssertionError at what must not be,
be it a property of `check.check_groups`, a stale read, an invariant of the code, or that nothing goes on; `rules.shown`
runs it twice, with the rule and without.  The first node of a cluster is its eldest; views begin with 1.  Members are
called a to e, where the design says 0 to 4.

Here are those about messages, clocks and sessions; `test_counterexamples_votes` has those about views, and
`test_counterexamples_reads` those about reads and leases.
"""

from phalanx.group.config import Limits
from phalanx.group.messages import (
    Data,
    Prepare,
    Promise,
    Pull,
)
from phalanx.lab.mutants import MUTANTS
from phalanx.model.clock import MILLISECOND, SECOND, wall_ms
from phalanx.model.events import Consumed, Delivered
from phalanx.model.view import GroupSpec, Order
from phalanx.replication.outcome import Returned
from phalanx.replication.session import SESSION_LIFETIME_MS
from phalanx.replication.sessions import Fresh, Sessions, Verdict
from phalanx.sim.clocks import EPOCH_NS
from tests.group.cluster import Cluster, group_of
from tests.group.rules import shown
from tests.source import ROOT

FIFO = group_of(Order.FIFO)
CAUSAL = group_of(Order.CAUSAL)


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
    """The same in a group hosted by two of five: c crashes, and a message of d that e lacks is in the cut that the
    non-hosts accept before e has it."""

    def schedule() -> None:
        none: tuple[GroupSpec, ...] = ()
        with Cluster("abcde", FIFO, hosts={"a": none, "b": none, "c": none}) as cluster:
            cluster.until_members("abcde")
            lost = cluster.drop(Data, source="d", target="e")
            cluster.send("d", "m")
            cluster.crash("c")
            cluster.run(0.1)
            lost.lift()
            cluster.until_members("abde")
            assert cluster.deliveries("e") == ["m"]

    shown(schedule, "it gathers for itself only", wrong="a view ends only where its cut is held|a host holds the cut")


def test_3_a_group_none_of_whose_hosts_answered_is_not_truncated_but_gone() -> None:
    """A group none of whose hosts answered gets the cut "nothing": its acknowledged writes are truncated when they
    return.  A group in memory dies with its last host, so what comes after it here is another group with another id."""

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


# --- clocks and sessions --------------------------------------------------------------------------------------------


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


def test_every_mutant_is_planted_by_a_test_that_sees_it() -> None:
    """Those that ask for all mutants, or take one for an example, do not count."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_guidance.py"]
    named = "".join(path.read_text(encoding="utf-8") for path in tests)
    assert [name for name in MUTANTS if f'"{name}"' not in named] == []
