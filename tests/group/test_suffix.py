"""Back with an old log: a node is sent only what it lacks (DESIGN section 8), and what it holds too much is cut off."""

import pytest

from phalanx.group.absorbing import Absorbing
from phalanx.group.batch import WHOLE
from phalanx.group.config import Limits
from phalanx.group.contents import Suffix
from phalanx.group.ledger import Ledger
from phalanx.group.membership import Membership
from phalanx.group.messages import Base, Chunk, Cut, Data, Decision, Fetch, Turned
from phalanx.group.seat import Seat, Tag
from phalanx.group.validity import fault_in
from phalanx.model.events import Consumed, Founded, Restored
from phalanx.model.machine import Journal
from phalanx.model.view import Group, Member, View
from phalanx.parts.spool import Spool
from tests.group.cluster import Cluster
from tests.group.durables import D, power_cut, sent
from tests.group.rules import shown
from tests.group.stage import Rule


def bytes_sent(rule: Rule) -> int:
    """In chunks that this rule has seen."""
    return sum(len(received.message.body.data) for _, received in rule.caught)


def test_a_node_that_comes_back_with_its_log_is_sent_only_what_it_lacks() -> None:
    """DESIGN section 8: "with an older durable state it gets only the suffix".  c is away for several views."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", *(f"{i}{'.' * 2000}" for i in range(100)))
        power_cut(cluster, "c")
        cluster.until_members("ab")
        for life in range(3):
            sent(cluster, "a", f"a{life}")
            cluster.crash("b")
            cluster.restart("b")
            cluster.until_members("ab")
        chunks = cluster.copy(Chunk, target="c")
        cluster.restart("c")
        cluster.converge("abc")
        assert not cluster.log("c", Restored)
        assert cluster.log("c", Founded)[0].replayed
        assert cluster.deliveries("c") == cluster.deliveries("a")
        assert 0 < bytes_sent(chunks) < 1000, "of a state of 200 kB it lacks 3 messages"


def test_what_a_log_holds_beyond_the_decided_cut_is_cut_off() -> None:
    """c had received what nobody delivered: its sender sent it anew in the next view, so it happened there, and once."""

    def schedule() -> None:
        with Cluster("abc", D) as cluster:
            cluster.until_members("abc")
            sent(cluster, "b", "one")
            lost = cluster.drop(Data, source="a", target="b")
            cluster.send("a", "m")
            cluster.run(0.02)
            power_cut(cluster, "c")
            cluster.until_members("ab")
            lost.lift()
            sent(cluster, "b", "two")
            cluster.restart("c")
            cluster.converge("abc")
            assert cluster.world.notes["transfer.suffix"] == 1, "a snapshot"
            assert cluster.deliveries("c")[:3] == cluster.deliveries("a")[:3], "another state"

    shown(
        schedule, "a log's open view is taken for common with the group", wrong="another state|gap|twice|did not come"
    )


def test_what_a_log_lacks_of_its_last_view_is_sent() -> None:
    """The others delivered more in the view that c saw last."""

    def schedule() -> None:
        with Cluster("abc", D) as cluster:
            cluster.until_members("abc")
            sent(cluster, "a", "one")
            lost = cluster.drop(Data, source="a", target="c")
            cluster.send("a", "m")
            cluster.run(0.02)
            power_cut(cluster, "c")
            lost.lift()
            cluster.until_members("ab")
            assert cluster.views()[-2].rank("c") >= 0
            assert cluster.deliveries("a") == ["one", "m"], "m was delivered with the end of the view"
            cluster.restart("c")
            cluster.converge("abc")
            assert cluster.world.notes["transfer.suffix"] == 1, "a snapshot"
            assert cluster.deliveries("c")[:2] == ["one", "m"], "another state"

    shown(schedule, "a log's last view is not completed", wrong="another state|never delivered")


def test_one_that_has_much_of_its_log_to_replay_is_no_full_host_until_its_application_has_caught_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its backlog closes the window of all others: writes stood still while a large state was restored."""

    def schedule() -> None:
        with Cluster("abc", D, limits=Limits(window=1000)) as cluster:
            cluster.until_members("abc")
            sent(cluster, "a", *(f"{i}{'.' * 200}" for i in range(10)))
            size = sum(map(len, cluster.deliveries("c")))
            power_cut(cluster, "c")
            cluster.until_members("ab")
            deliver = cluster.apps.deliver
            cluster.world._deliver = lambda node, it: [
                r for r in deliver(node, it) if node.name != "c" or not isinstance(r, Consumed)
            ]
            cluster.restart("c")
            cluster.until(lambda: len(cluster.deliveries("c")) == 10, "the replay")
            cluster.run(2)
            sent(cluster, "a", "more")
            assert (cluster.members("a"), cluster.learners("a")) == ("ab", "c")
            cluster.world._deliver = deliver
            group = cluster.group("c")
            assert group is not None
            cluster.world.request("c", Consumed(group.id, size + len("more")))
            cluster.converge("abc")

    schedule()
    monkeypatch.setattr(Membership, "_is_ready", lambda self, name, group: name in self.core.channels[group].synced)
    with pytest.raises(AssertionError, match="an acknowledgement"):
        schedule()


@pytest.mark.parametrize("crashes", range(1, 12, 2))
def test_it_may_lose_power_again_while_it_is_sent_what_it_lacks(crashes: int) -> None:
    """What it was sent is in its log, behind what it had: the log is read as it was written."""
    with Cluster("abc", D, limits=Limits(chunk=100)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", *(f"{i}{'.' * 200}" for i in range(20)))
        power_cut(cluster, "c")
        cluster.until_members("ab")
        sent(cluster, "b", *(f"b{i}{'.' * 200}" for i in range(10)))
        cluster.restart("c")
        cluster.run(0.3 + 0.02 * crashes)
        power_cut(cluster, "c")
        sent_meanwhile = [cluster.send("a", f"more{crashes}")]
        cluster.run(1)
        cluster.restart("c")
        cluster.converge("abc")
        power_cut(cluster, "abc")
        cluster.restart("c", "a")
        cluster.until_members("ca")
        assert cluster.deliveries("c") == cluster.deliveries("a")
        assert set(sent_meanwhile) <= set(cluster.deliveries("c"))
        cluster.restart("b")
        cluster.converge("abc")


def test_who_lacks_more_than_is_kept_gets_a_snapshot() -> None:
    with Cluster("abc", D, limits=Limits(retained=1000)) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "old")
        power_cut(cluster, "c")
        cluster.until_members("ab")
        sent(cluster, "a", *(f"{i}{'.' * 200}" for i in range(20)))
        cluster.restart("c")
        cluster.converge("abc")
        assert cluster.log("c", Restored)
        assert cluster.deliveries("c") == cluster.deliveries("a")


def test_a_restarted_donor_has_what_its_own_log_holds() -> None:
    """A rolling restart: each comes back by what it lacks, from others that were down just before."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        for name in "cba":
            sent(cluster, "a" if name != "a" else "b", f"before {name}")
            power_cut(cluster, name)
            cluster.until_members("abc".replace(name, ""))
            sent(cluster, "a" if name != "a" else "b", f"without {name}")
            cluster.restart(name)
            cluster.until_members("abc")
            assert not cluster.log(name, Restored)
        assert cluster.world.notes["transfer.suffix"] == 3


A, B = Member("a", "a", 1), Member("b", "b", 1)
BASE = Base(3, (2, 1))


def batch(view: int, author: int, number: int = 3) -> tuple[Member, Data]:
    return A, Data(view, 1 << 16, author, number, 1, 1, WHOLE, (), [b"payload"])


def begun(suffix: Suffix, base: Base | None = BASE, more: bytes = b"") -> Absorbing | None:
    """By a learner for whom it goes up to the beginning of view 9, in which there are three hosts."""
    spool = Spool(64)
    Seat.pack_suffix(spool, suffix)
    spool.append(more)
    return Absorbing.begin(1 << 16, 1, Tag(9, (0, 0, 0)), spool, spool.digest, base)


def test_what_does_not_follow_the_log_is_not_taken() -> None:
    """Nor what has numbers for which there is no place: a step must not fail for what a peer says (SCENARIOS 41)."""
    good = Suffix(BASE, (3, 1), [batch(3, 0), batch(5, 0), batch(9, 2)], [(5, (3,))])
    assert begun(good) is not None
    assert begun(good, base=None) is None
    assert begun(good, base=Base(3, (2, 2))) is None
    assert begun(good, more=b"\0") is None
    for wrong in (
        Suffix(BASE, (3,), [], []),
        Suffix(BASE, (3, 1), [batch(3, 2)], []),
        Suffix(BASE, (3, 1), [batch(3, -1)], []),
        Suffix(BASE, (3, 1), [batch(5, 0)], []),
        Suffix(BASE, (3, 1), [batch(5, 1)], [(5, (3,))]),
        Suffix(BASE, (3, 1), [batch(9, 3)], []),
        Suffix(BASE, (3, 1), [batch(9, 0, number=0)], []),
        Suffix(BASE, (3, 1), [batch(10, 0)], [(10, (3,))]),
    ):
        assert begun(wrong) is None, wrong
    assert begun(Suffix(Base(9, (2, 1)), (3, 1), [], []), base=Base(9, (2, 1))) is None


def test_what_does_not_complete_the_log_leaves_a_snapshot_to_be_fetched() -> None:
    """The cut names what neither the log nor the suffix has: no state is made up of it, and no base is offered again."""
    group, view = Group(1 << 16, D, ("a", "b"), ()), 1
    ledger = Ledger("a", Limits(), Journal((
        Turned(Decision(0, View(7, view, (A, B), (), (group,)), (), 1)),
        Data(1, 1 << 16, 1, 1, 10, 1, WHOLE, (), [b"one"]),
        Turned(Decision(5, View(7, 6, (B,), (A,), (Group(1 << 16, D, ("b",), ("a",)),)), (Cut(1 << 16, (0,)),), 1)),
    )))  # fmt: skip
    base = ledger.base(1 << 16)
    assert base == Base(1, (0, 1))
    assert (
        ledger.complete(1 << 16, Suffix(base, (0, 3), [(B, Data(1, 1 << 16, 1, 3, 30, 1, WHOLE, (), [b"three"]))], []))
        is None
    )
    assert ledger.base(1 << 16) is None


def test_a_base_that_cannot_be_is_an_accusation() -> None:
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        core, view = cluster.machine("b")._core, cluster.views()[-1]
        a, group = view.members[0], view.groups[0].id
        assert fault_in(core, a, Fetch(group, 0, view.id, (0, 0, 0), Base(1, (0, 7)))) is None
        for base in (Base(-1, (0,)), Base(1, ()), Base(1, (0, -1)), Base(1, (1 << 63,)), Base(1, (0,) * 1000)):
            assert fault_in(core, a, Fetch(group, 0, view.id, (0, 0, 0), base)), base
