"""A log is read as it was lived (ARCHITECTURE, decision 37)."""

from phalanx.group.config import Limits
from phalanx.group.ledger import Ledger
from phalanx.group.messages import Cut, Data, Decision, Turned
from phalanx.model.clock import MILLISECOND, stamp_of
from phalanx.model.events import Delivered
from phalanx.model.machine import Journal
from phalanx.model.view import Group, Member, View
from phalanx.sim.clocks import EPOCH_NS
from tests.group.cluster import Cluster
from tests.group.durables import D, power_cut, sent


def test_a_large_payload_whose_sender_was_demoted_in_the_middle_is_read_from_the_log() -> None:
    """The log is replayed as it was lived: the first fragment waits while its sender is only a learner."""
    a, b = Member("a", "a", 1), Member("b", "b", 1)

    def turned(view: int, hosts: tuple[str, ...], upto: tuple[int, ...] | None) -> Turned:
        group = Group(1 << 16, D, hosts, tuple({"a", "b"} - set(hosts)))
        cuts = (Cut(1 << 16, upto),) if upto is not None else ()
        members = tuple(m for m in (a, b) if m.name in hosts)
        others = tuple(m for m in (a, b) if m.name not in hosts)
        return Turned(Decision(view - 1, View(7, view, members, others, (group,)), cuts, 1))

    records = (
        turned(1, ("a", "b"), None),
        Data(1, 1 << 16, 1, 1, 10, 1, 1, (), [b"large "]),
        turned(2, ("a",), (0, 1)),
        turned(3, ("a", "b"), (0,)),
        Data(3, 1 << 16, 1, 1, 20, 1, 0, (), [b"payload"]),
        turned(4, ("a", "b"), (0, 1)),
    )
    seat = Ledger("a", Limits(), Journal(records)).release(1 << 16, 4)
    assert seat is not None and seat.replay is not None
    assert [d.payloads for d in seat.replay if isinstance(d, Delivered)] == [[b"large payload"]]


def test_a_node_that_comes_back_to_others_brings_no_clock_that_runs_ahead() -> None:
    """What it reserved on its disk and may not have used is for those who have nobody to ask (ARCHITECTURE, decision 56):
    else its stamps would be refused by the others, or draw their clocks along and end leases early."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        cluster.run(10)
        power_cut(cluster, "c")
        cluster.until_members("ab")
        cluster.restart("c")
        cluster.until_members("abc")
        sent(cluster, "c", "m")
        ahead = cluster.log("a", Delivered)[-1].stamp - stamp_of(EPOCH_NS + cluster.world.now)
    assert ahead <= stamp_of(50 * MILLISECOND)
