"""group.seat: batches out of payloads and back, the suffix of one that waits for a snapshot (DESIGN sections 5, 8)."""

import random
from typing import Any

from phalanx.group.batch import PAYLOAD_OVERHEAD, WHOLE, Entry, size_of
from phalanx.group.config import Limits
from phalanx.group.messages import Data
from phalanx.group.seat import Seat, Snapshot, Tag
from phalanx.model.events import Delivered, Restored, Restoring, Writable
from phalanx.model.view import GroupSpec, Member
from phalanx.parts.spool import Spool, framed

A, B = Member("a", "a", 1), Member("b", "b", 1)
BATCH = 10 + 3 * PAYLOAD_OVERHEAD
LARGE = 2 * BATCH + 5
"""A payload of this size goes in three fragments."""
LIMITS = Limits(batch=BATCH, queue=300, suffix=100)


def seat_of(*, synced: bool = True) -> Seat:
    return Seat(1, GroupSpec("g"), LIMITS, synced)


def data_of(entry: Entry, number: int, author: int = 0) -> Data:
    return Data(1, 1, author, number, number, 1, entry.left, (), entry.payloads)


def payloads_in(deliveries: list[Any]) -> list[bytes]:
    return [p for d in deliveries if isinstance(d, Delivered) for p in d.payloads]


def packed(seat: Seat, *slices: bytes) -> bytes:
    spool = Spool(8)
    Seat.begin_packing(spool, seat.partials())
    for data in slices:
        spool.append(framed(data))
    return spool.read(0, len(spool))


def unpacked(blob: bytes) -> Snapshot:
    spool = Spool(8)
    spool.append(blob)
    snapshot = Seat.unpack(spool)
    assert isinstance(snapshot, Snapshot)
    return snapshot


def drain(seat: Seat) -> list[Entry]:
    return [seat.next_entry() for _ in range(len(seat.queue))]


def test_what_is_packed_and_sent_is_what_is_delivered() -> None:
    """Any mixture of sizes, and of packing and sending: the payloads come out as they went in."""
    sizes = (0, 1, 4, BATCH - PAYLOAD_OVERHEAD, BATCH - PAYLOAD_OVERHEAD + 1, BATCH, BATCH + 1, LARGE)
    for seed in range(2_000):
        rng = random.Random(seed)
        seat, other = seat_of(), seat_of()
        sent: list[bytes] = []
        entries: list[Entry] = []
        for _ in range(rng.randint(1, 6)):
            some = [rng.randbytes(rng.choice(sizes)) for _ in range(rng.randint(1, 5))]
            seat.enqueue(some)
            sent += some
            while seat.queue and rng.random() < 0.4:
                entries.append(seat.next_entry())
            assert seat.queued == sum(e.size for e in seat.queue)
        entries += drain(seat)
        assert seat.queued == 0
        assert all(e.size == size_of(e.payloads) for e in entries), f"seed {seed}"
        assert all(e.size <= BATCH for e in entries if e.left == WHOLE), f"seed {seed}"
        assert all(len(e.payloads) == 1 and len(e.payloads[0]) <= BATCH for e in entries if e.left != WHOLE)
        deliveries: list[Any] = []
        for number, entry in enumerate(entries, 1):
            other.deliver(1, A, data_of(entry, number), deliveries)
        assert payloads_in(deliveries) == sent, f"seed {seed}"
        assert other.backlog == sum(map(len, sent))
        assert other.partials() == []


def test_small_payloads_share_a_batch_and_a_large_one_is_cut_into_fragments() -> None:
    seat = seat_of()
    seat.enqueue([b"aaa", b"bbb"])
    seat.enqueue([b"ccc"])
    seat.enqueue([b"d" * LARGE])
    seat.enqueue([b"e"])
    assert [(e.payloads, e.left) for e in drain(seat)] == [
        ([b"aaa", b"bbb", b"ccc"], WHOLE),
        ([b"d" * BATCH], 2),
        ([b"d" * BATCH], 1),
        ([b"d" * 5], 0),
        ([b"e"], WHOLE),
    ]


def test_empty_payloads_are_not_free() -> None:
    """PAYLOAD_OVERHEAD: any number of them would else be one batch, and never fill a window."""
    seat = seat_of()
    seat.enqueue([b""] * 7)
    assert seat.queued == 7 * PAYLOAD_OVERHEAD
    assert [len(e.payloads) for e in drain(seat)] == [3, 3, 1]
    assert seat.queued == 0


def test_a_batch_that_was_sent_is_not_added_to() -> None:
    seat = seat_of()
    seat.enqueue([b"a"])
    sent = seat.next_entry()
    seat.enqueue([b"b"])
    assert (sent.payloads, seat.next_entry().payloads) == ([b"a"], [b"b"])


def test_what_is_put_back_comes_first_and_in_order() -> None:
    """DESIGN section 6: survivors resend what the cut leaves out, before anything newer."""
    seat = seat_of()
    seat.enqueue([b"x" * LARGE, b"small"])
    sent = [seat.next_entry(), seat.next_entry()]
    seat.put_back(sent)
    seat.enqueue([b"later"])
    assert seat.queued == LARGE + len(b"small" + b"later") + 5 * PAYLOAD_OVERHEAD, "three fragments and two"
    deliveries: list[Any] = []
    for number, entry in enumerate(drain(seat), 1):
        seat.deliver(1, A, data_of(entry, number), deliveries)
    assert payloads_in(deliveries) == [b"x" * LARGE, b"small", b"later"]


def test_fragments_of_several_senders_interleave() -> None:
    """SCENARIOS 28: large messages with interleaved fragments."""
    seat = seat_of()
    deliveries: list[Any] = []
    for left in (2, 1, 0):
        seat.deliver(1, A, data_of(Entry([b"a%d" % left], 2, left), 3 - left), deliveries)
        seat.deliver(1, B, data_of(Entry([b"b%d" % left], 2, left), 3 - left, author=1), deliveries)
    assert payloads_in(deliveries) == [b"a2a1a0", b"b2b1b0"]


def test_the_half_of_a_large_payload_goes_with_its_sender() -> None:
    seat = seat_of()
    deliveries: list[Any] = []
    seat.deliver(1, A, data_of(Entry([b"half"], 4, 1), 1), deliveries)
    seat.deliver(1, B, data_of(Entry([b"other"], 5, 1), 1, author=1), deliveries)
    seat.view_began([B])
    assert seat.partials() == [(B, [b"other"])]
    seat.deliver(2, B, data_of(Entry([b" half"], 5, 0), 1), deliveries)
    assert payloads_in(deliveries) == [b"other half"]


def test_a_full_queue_says_once_when_it_is_half_empty() -> None:
    seat = seat_of()
    seat.enqueue([b"x" * 10] * 12)
    seat.full = True
    said: list[Any] = []
    while seat.queue:
        seat.next_entry()
        seat.room_again(said)
        assert bool(said) == (seat.queued <= LIMITS.queue // 2)
    assert said == [Writable(1)]


def test_a_snapshot_and_the_suffix_are_the_state_at_every_boundary() -> None:
    """A learner that keeps everything since some point and gets a snapshot of any later point ends up with what a host
    delivered: nothing lost, nothing twice, open fragments included (DESIGN section 8)."""
    for seed in range(2_000):
        rng = random.Random(seed)
        queue = seat_of()
        queue.enqueue([bytes([65 + i]) * rng.choice((1, 3, LARGE)) for i in range(8)])
        entries = drain(queue)
        host, learner = seat_of(), seat_of(synced=False)
        learner.lose_state(Tag(1, (0,)))
        covered = rng.randint(0, len(entries))
        delivered: list[Any] = []
        blob, state = b"", b""
        for number, entry in enumerate(entries, 1):
            if number == covered + 1:
                state = b"|".join(payloads_in(delivered))
                blob = packed(host, state)
            host.deliver(1, A, data_of(entry, number), delivered)
            learner.deliver(1, A, data_of(entry, number), [])
        if not blob:
            state = b"|".join(payloads_in(delivered))
            blob = packed(host, state)
        out: list[Any] = []
        learner.restore(unpacked(blob), Tag(1, (covered,)), [A], out)
        assert isinstance(out[0], Restored)
        whole = [*([out[0].data] if out[0].data else []), *payloads_in(out)]
        assert b"|".join(whole) == b"|".join(payloads_in(delivered)), f"seed {seed}"
        assert learner.partials() == host.partials() and learner.synced


def test_a_suffix_beyond_its_limit_is_given_up() -> None:
    """Limits.suffix: then the transfer starts again."""
    seat = seat_of(synced=False)
    seat.lose_state(Tag(1, (0,)))
    for number in range(1, 5):
        assert not seat.overflowed
        seat.deliver(1, A, data_of(Entry([b"x" * 10], 10, WHOLE), number), [])
    assert seat.overflowed
    seat.lose_state(Tag(1, (4,)))
    seat.deliver(1, A, data_of(Entry([b"y"], 1, WHOLE), 5), [])
    out: list[Any] = []
    seat.restore(unpacked(packed(seat, b"")), Tag(1, (4,)), [A], out)
    assert payloads_in(out) == [b"y"], "it began anew"


def test_later_views_in_the_suffix_are_replayed_whole() -> None:
    seat = seat_of(synced=False)
    seat.lose_state(Tag(1, (0,)))
    for view, number in ((1, 1), (1, 2), (2, 1)):
        seat.deliver(view, A, data_of(Entry([b"%d.%d" % (view, number)], 3, WHOLE), number), [])
    out: list[Any] = []
    seat.restore(unpacked(packed(seat, b"state")), Tag(1, (1,)), [A], out)
    assert payloads_in(out) == [b"1.2", b"2.1"]
    assert [d.view for d in out if isinstance(d, Delivered)] == [1, 2]


def test_slices_of_a_log_are_restored_one_by_one_and_the_last_ends_it() -> None:
    seat = seat_of(synced=False)
    seat.replay = []
    seat.restore(unpacked(packed(seat, b"a", b"b", b"c")), Tag(1, (0,)), [A], [])
    out: list[Any] = []
    seat.speak(out)
    assert out == [Restoring(1, -1, b"a"), Restoring(1, -1, b"b"), Restored(1, b"c", -1)]


def test_what_is_no_snapshot_is_not_unpacked() -> None:
    whole = packed(seat_of(), b"state")
    for blob in (b"", whole[:-1], whole + b"\0", packed(seat_of()), framed(b"\xc1") + framed(b"state")):
        spool = Spool(8)
        spool.append(blob)
        assert Seat.unpack(spool) is None, blob
