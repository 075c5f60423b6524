"""Watches: what a gateway tells (SCENARIOS 33, 40).  What a client makes of it is in test_following.py.

The whole is under test in tests/lab/test_store_scenario.py; here is each rule alone.
"""

from typing import Any

import pytest

from phalanx.model.clock import SECOND, stamp_of
from phalanx.model.events import Barrier, BarrierReached, Delivered, Excluded, Founded, Installed, Multicast
from phalanx.model.machine import Output
from phalanx.model.replicated import version
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.replication import entries
from phalanx.replication.feeds import CREDIT_MAX, PROGRESS_NS, WATCHES_PER_CLIENT
from phalanx.replication.following import FROM_NOW
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import HookFailed
from phalanx.replication.messages import Batch, Declined, Reason, Reply, Unwatch, Watch, WatchMore
from phalanx.replication.objects import ObjectType, describe
from phalanx.replication.outcome import Raised
from phalanx.replication.standing import Standing
from phalanx.services.store import limits
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Event, Feed, position_after
from tests.replication.samples import A, B, C

KIND = describe(KV)
WATCH = KIND.operation(KV.watch)
CLIENT = "~1"
GROUP = 7
CLUSTER, FORMER = 1, 9
"""The node's cluster, and one that it was recovered from."""


class Shop:
    """One gateway with a store, at which a client watches.  Commands are applied at once."""

    def __init__(self, group: int = GROUP, kind: ObjectType[Any] = KIND) -> None:
        self.group = group
        self.now = 1_000 * SECOND
        self.request = 0
        self.gateway = Gateway(A)
        self.gateway.register("KV", kind)
        spec = GroupSpec("KV", contract=KIND.contract)
        self.gateway.stand(Standing.ACTS, frozenset(), self.now)
        groups = (Group(group, spec, ("a", "b", "c")),)
        self.gateway.deliver(Installed(View(CLUSTER, 1, (A, B, C), groups=groups, lineage=(FORMER,))))
        self.gateway.deliver(Founded(group, spec))
        self.failed: list[HookFailed] = []
        self.session = stamp_of(self.now)
        self.numbers = 0
        self.order(entries.Open(0))

    def order(self, entry: entries.Entry, sender: Member = B) -> None:
        self.gateway.deliver(Delivered(self.group, 1, sender, stamp_of(self.now), [entries.encode(entry)]))

    def put(self, key: bytes, value: bytes = b"") -> None:
        self.run(KIND.invoke(KV.put, key, value))

    def run(self, invocation: Any) -> None:
        self.numbers += 1
        operation = invocation.operation
        entry = entries.Run(0, self.session, self.numbers, 1, operation.id, operation.types, invocation.arguments)
        self.order(entry)

    def watch(
        self,
        start: bytes,
        end: bytes | None,
        after: int = 0,
        credit: int = 4,
        identity: int = 0,
        cluster: int = 0,
    ) -> int:
        self.request += 1
        arguments = WATCH.encode((), {"start": start, "end": end})
        position = FROM_NOW if after < 0 else position_after(after)
        message = Watch(self.request, "KV", identity, WATCH.id, WATCH.types, arguments, position, credit, cluster)
        self.gateway.receive(CLIENT, message)
        return self.request

    def say(self, make: Any, *arguments: int) -> None:
        self.request += 1
        self.gateway.receive(CLIENT, make(self.request, *arguments))

    def turn(self, passes_ns: int = 0) -> list[Any]:
        """What the client is told."""
        self.now += passes_ns
        self.gateway.stand(Standing.ACTS, frozenset(), self.now)
        out = Output()
        for request in self.gateway.flush(out):
            if isinstance(request, Barrier):
                self.gateway.deliver(BarrierReached(request.group, request.token))
        self.gateway.flush(out)
        self.failed += [delivery for delivery in out.deliveries if isinstance(delivery, HookFailed)]
        return [send.message for send in (*out.eager, *out.sends) if send.to == (CLIENT,)]

    def told(self, passes_ns: int = 0) -> list[tuple[bytes, int]]:
        return [(event.key, event.revision) for batch in self.turn(passes_ns) for event in events(batch)]


def events(batch: Batch) -> list[Event]:
    feed: Feed | None = WATCH.read(batch.data) if batch.data else None
    return feed.events if feed else []


def test_a_watch_is_told_what_concerns_it_once_and_in_order() -> None:
    shop = Shop()
    for key in (b"a", b"b", b"a"):
        shop.put(key)
    shop.watch(b"a", b"a\0")
    assert shop.told() == [(b"a", 1), (b"a", 3)]
    shop.put(b"b")
    assert shop.told() == []
    shop.put(b"a")
    assert shop.told() == [(b"a", 5)]


@version(2, replaces=KV)
class LaterKV(KV):
    """The store, in a later version of its class."""


def test_a_watch_goes_on_with_the_class_that_the_group_goes_over_to() -> None:
    later = describe(LaterKV)
    shop = Shop(kind=later)
    shop.put(b"a")
    shop.watch(b"", None)
    assert shop.told() == [(b"a", 1)]
    shop.order(entries.Upgrade(1, 1, 2, later.contract, ("a", "b", "c")))
    out = Output()
    (said,) = [request.payloads for request in shop.gateway.flush(out) if isinstance(request, Multicast)]
    (converted,) = [entry for entry in map(entries.decode, said) if isinstance(entry, entries.Converted)]
    shop.put(b"b")
    for sender in (A, B, C):
        shop.order(converted, sender)
    (declined,) = shop.turn()
    assert isinstance(declined, Declined) and declined.reason is Reason.ELSEWHERE
    assert declined.text == "the group runs version 2 now"
    shop.watch(b"", None, after=1)
    assert shop.told() == [(b"b", 2)], "its history is taken over"


def test_a_watch_of_another_cluster_is_declined() -> None:
    """The group may have the same id there, and the position mean something else."""
    shop = Shop()
    shop.put(b"a")
    shop.watch(b"", None, identity=shop.group, cluster=CLUSTER + 1)
    (declined,) = shop.turn()
    assert isinstance(declined, Declined) and declined.reason is Reason.FOREIGN
    shop.watch(b"", None, identity=shop.group, cluster=CLUSTER)
    (batch,) = shop.turn()
    assert isinstance(batch, Batch) and batch.cluster == 0, "the client knows"
    shop.watch(b"", None)
    (batch,) = shop.turn()
    assert isinstance(batch, Batch) and batch.cluster == CLUSTER, "it does not know yet"


def test_a_watch_does_not_go_on_in_a_cluster_that_an_operator_recovered() -> None:
    """It may have been told what was lost, and miss what came instead.  Its client is told, and goes with it."""
    shop = Shop()
    shop.put(b"a")
    shop.watch(b"", None, after=1, identity=shop.group, cluster=FORMER)
    shop.watch(b"", None, after=-1, cluster=FORMER)
    for declined in shop.turn():
        assert isinstance(declined, Declined)
        assert (declined.reason, declined.cluster) == (Reason.LOST, CLUSTER)
    shop.watch(b"", None, after=-1, cluster=CLUSTER)
    (batch,) = shop.turn()
    assert isinstance(batch, Batch) and batch.cluster == 0


def test_a_watch_from_now_begins_after_what_was_acknowledged() -> None:
    shop = Shop()
    shop.put(b"a")
    shop.watch(b"", None, after=-1)
    (mark,) = shop.turn()
    assert (mark.data, mark.position) == (b"", position_after(1))
    shop.put(b"a")
    assert shop.told() == [(b"a", 2)]


def test_batches_join_and_signs_of_life_come_when_nothing_happens() -> None:
    shop = Shop()
    shop.watch(b"a", b"b", credit=CREDIT_MAX)
    position = position_after(0)
    for step in range(8):
        shop.put(b"a" if step % 3 == 0 else b"c")
        for batch in shop.turn(PROGRESS_NS // 2):
            assert batch.after == position
            position = batch.position
    assert position >= position_after(7)


def test_a_client_that_never_reads_costs_no_more_than_its_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCENARIOS 40."""
    monkeypatch.setattr(limits, "FEED_EVENTS_MAX", 2)
    shop = Shop()
    watch = shop.watch(b"", None, credit=3)
    told = []
    for _ in range(20):
        shop.put(b"a")
        told += shop.turn(SECOND)
    assert len(told) == 3
    assert shop.gateway.deadline is None, "nor does it wake the node"
    shop.say(WatchMore, watch, 1)
    told += shop.turn()
    assert len(told) == 4
    shop.say(WatchMore, watch, 1 << 40)
    told += shop.turn()
    assert [event.revision for batch in told for event in events(batch)] == list(range(1, 21))


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
def test_no_client_may_ask_for_more_batches_than_the_limit(at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SCENARIOS 40: its node would hold all that it does not read."""
    monkeypatch.setattr(limits, "FEED_EVENTS_MAX", 1)
    shop = Shop()
    watch = shop.watch(b"", None, credit=1 << 40 if at_once else 1)
    if not at_once:
        shop.turn()
        shop.say(WatchMore, watch, 1 << 40)
    for _ in range(2 * CREDIT_MAX):
        shop.put(b"a")
    told = shop.turn()
    assert len(told) == CREDIT_MAX
    assert shop.turn(60 * SECOND) == []


def test_a_watch_that_is_compacted_below_its_position_ends_with_the_reason() -> None:
    """SCENARIOS 33."""
    shop = Shop()
    watch = shop.watch(b"a", b"b", credit=1)
    for _ in range(3):
        shop.put(b"a")
        shop.turn()
    shop.run(KIND.invoke(KV.compact, 3))
    shop.say(WatchMore, watch, 1)
    (reply,) = shop.turn()
    assert isinstance(reply, Reply) and isinstance(reply.outcome, Raised)
    with pytest.raises(Exception, match="revision 2 was compacted; the history begins at revision 3"):
        WATCH.result(reply.outcome)
    shop.put(b"a")
    assert shop.turn() == []


def test_an_idle_watch_is_not_hurt_by_compaction() -> None:
    shop = Shop()
    shop.watch(b"z", None)
    shop.turn()
    for _ in range(10):
        shop.put(b"a")
        shop.turn()
    shop.run(KIND.invoke(KV.compact, 10))
    shop.put(b"z")
    assert shop.told() == [(b"z", 11)]


def test_a_group_that_was_founded_anew_is_not_followed_silently() -> None:
    shop = Shop()
    shop.watch(b"", None, after=100, identity=GROUP - 1)
    (declined,) = shop.turn()
    assert isinstance(declined, Declined) and declined.reason is Reason.LOST
    shop.watch(b"", None, after=100, identity=GROUP + 1)
    (declined,) = shop.turn()
    assert declined.reason is Reason.ELSEWHERE, "this node is the one that is behind"


def test_whoever_follows_a_replica_that_goes_is_sent_elsewhere() -> None:
    shop = Shop()
    watch = shop.watch(b"", None)
    shop.turn()
    shop.gateway.deliver(Excluded(None, "test"))
    (declined,) = shop.turn()
    assert (declined.request, declined.reason) == (watch, Reason.ELSEWHERE)


def test_watches_have_limits_and_make_room_when_they_end() -> None:
    shop = Shop()
    first = shop.watch(b"a", b"b")
    for _ in range(WATCHES_PER_CLIENT):
        shop.watch(b"a", b"b")
    assert [message.reason for message in shop.turn() if isinstance(message, Declined)] == [Reason.BUSY]
    shop.say(Unwatch, first)
    shop.watch(b"a", b"b")
    assert [message for message in shop.turn() if isinstance(message, Declined)] == []
    shop.gateway.forget(CLIENT)
    shop.put(b"a")
    assert shop.turn() == []


def test_a_watch_that_ends_before_it_began_leaves_nothing() -> None:
    shop = Shop()
    watch = shop.watch(b"", None, after=-1)
    shop.say(Unwatch, watch)
    shop.put(b"a")
    assert shop.turn(SECOND) == []


def test_bad_watches_are_refused() -> None:
    shop = Shop()
    shop.watch(b"", None)
    arguments = WATCH.encode((), {"start": b"", "end": None})
    for operation, types, given in ((WATCH.id, 1, arguments), ("get@1", 1, b""), (WATCH.id, WATCH.types, b"\xc1")):
        shop.request += 1
        shop.gateway.receive(CLIENT, Watch(shop.request, "KV", 0, operation, types, given, 0, 4))
    reasons = [message.reason for message in shop.turn() if isinstance(message, Declined)]
    assert reasons == [Reason.OPERATION, Reason.OPERATION, Reason.ARGUMENTS]
