"""One end of a multicast channel, step by step: gaps, late comers, those too far behind, limits."""

import itertools
from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Received
from phalanx.multicast.config import FRAGMENT_COST, cost_of
from phalanx.multicast.messages import Arrived, Beat, Missed, Nack, Piece, Publish, Taken
from phalanx.multicast.receiving import covered, first_of
from tests.multicast.end import End, beat, payloads, piece
from tests.multicast.world import QUICK, SMALL

# --- order and gaps -----------------------------------------------------------------------------------------------


def test_what_comes_early_waits_and_what_comes_twice_is_dropped() -> None:
    end = End()
    end.hear(piece(1), piece(3), piece(3), piece(1))
    assert payloads(end) == [b"1"]
    end.hear(piece(2))
    assert payloads(end) == [b"1", b"2", b"3"]


def test_a_payload_is_put_together_from_its_fragments() -> None:
    end = End()
    end.hear(piece(2, b"two ", first=False, last=False), piece(1, b"one ", last=False), piece(3, b"three", first=False))
    assert payloads(end) == [b"one two three"]


def test_a_gap_is_asked_for_once_after_a_wait_and_again_if_nothing_comes() -> None:
    end = End()
    end.hear(piece(1), piece(4))
    assert end.told(Nack) == []
    end.let_pass(QUICK.spread * QUICK.round_trip)
    assert end.told(Nack) == [Nack("test", 9, ((2, 3),))]
    end.let_pass(SECOND // 10)
    assert len(end.told(Nack)) > 1
    end.hear(piece(2), piece(3))
    before = len(end.told(Nack))
    end.let_pass(SECOND)
    assert len(end.told(Nack)) == before and payloads(end)[-1] == b"4"


def test_the_loss_of_the_last_is_noticed_by_a_beat() -> None:
    end = End()
    end.hear(piece(1), beat(2))
    end.let_pass(SECOND // 10)
    assert end.told(Nack)[0].ranges == ((2, 2),)


def test_who_hears_another_ask_for_all_that_it_lacks_does_not() -> None:
    end = End()
    end.hear(piece(1), piece(4), piece(6))
    end.hear(Nack("test", 9, ((2, 3),)), Nack("test", 9, ((5, 9),)))
    end.let_pass(QUICK.spread * QUICK.round_trip)
    assert end.told(Nack) == [] and "multicast.suppressed" in end.notes


def test_who_lacks_more_than_another_asked_for_asks_itself() -> None:
    end = End()
    end.hear(piece(1), piece(4), piece(6))
    end.hear(Nack("test", 9, ((2, 3),)))
    end.let_pass(QUICK.spread * QUICK.round_trip)
    assert end.told(Nack)[0].ranges == ((2, 3), (5, 5))


def test_a_request_has_a_bounded_number_of_gaps() -> None:
    end = End()
    end.hear(*[piece(number, high=400) for number in range(1, 90, 2)])
    end.hear(*[piece(number, high=400) for number in range(91, 400, 2)])
    end.let_pass(QUICK.spread * QUICK.round_trip)
    assert len(end.told(Nack)[0].ranges) <= 64
    assert first_of((n, n) for n in range(1_000)) == tuple((n, n) for n in range(64))


@pytest.mark.parametrize(
    ("ranges", "asked", "result"),
    [
        ([(1, 2)], [(1, 1), (2, 2)], True),
        ([(1, 3)], [(3, 3), (1, 1)], False),
        ([(1, 1), (5, 9)], [(4, 10), (0, 2)], True),
        ([], [], True),
        ([(1, 1)], [], False),
    ],
)
def test_what_is_covered(ranges: Any, asked: Any, result: bool) -> None:
    assert covered(ranges, asked) is result


# --- too late -----------------------------------------------------------------------------------------------------


def test_a_stream_is_taken_from_its_beginning_while_all_is_kept() -> None:
    end = End()
    end.hear(piece(5))
    end.let_pass(SECOND // 10)
    assert end.told(Nack)[0].ranges == ((1, 4),)


def test_and_later_on_from_what_is_sent_next() -> None:
    end = End()
    end.hear(piece(7, low=3, first=False), piece(8, low=3))
    assert payloads(end) == [b"8"], "the beginning of 7 was before"
    repairs = End()
    repairs.hear(piece(5, low=3, high=7), piece(8, low=3))
    assert payloads(repairs) == [b"8"] and not repairs.told(Nack)


def test_one_that_is_too_far_behind_is_told_in_its_place() -> None:
    end = End()
    end.hear(piece(1), piece(2, b"a", last=False), piece(5, b"b", first=False), piece(6))
    end.hear(beat(7, low=5), piece(7, low=5))
    assert end.got == [Arrived("s", 9, b"1"), Missed("s", 9, 3), Arrived("s", 9, b"6"), Arrived("s", 9, b"7")]
    assert "multicast.missed" in end.notes


def test_a_sender_tells_one_that_asks_too_late() -> None:
    end = End()
    for number in range(300):
        end.step(Publish(b"%d" % number))
    end.let_pass(SECOND)
    low, stream = end.machine.sending.low, end.machine.sending.stream
    assert low > 1
    end.sent.clear()
    end.hear(Nack("test", stream, ((1, low),)))
    (told,) = end.told(Beat)
    assert told.low == low and [each.number for each in end.told(Piece)] == [low]


def test_a_sender_that_falls_silent_is_forgotten_and_what_it_owes_is_missed() -> None:
    end = End()
    end.hear(piece(1), piece(3))
    end.let_pass(QUICK.forget_after + SECOND)
    assert end.machine.streams == {}
    assert end.got == [Arrived("s", 9, b"1"), Missed("s", 9, 2)]
    done = End()
    done.hear(piece(1))
    done.let_pass(QUICK.forget_after + SECOND)
    assert done.machine.streams == {} and done.got == [Arrived("s", 9, b"1")]


# --- sending ------------------------------------------------------------------------------------------------------


def test_the_rate_is_kept_to_with_repairs() -> None:
    end = End()
    for number in range(500):
        end.step(Publish(b"%04d" % number + b"." * 40))
    times: list[tuple[int, int]] = []
    begun = end.now
    while end.now < begun + SECOND:
        end.now = max(end.now, end.deadline)
        stream, high = end.machine.sending.stream, end.machine.sending.high
        out = end.step(Received("x", Nack("test", stream, ((max(1, high - 20), high),))))
        times += [(end.now, cost_of(s.message.body)) for s in out.eager if isinstance(s.message, Piece)]
    assert times
    for place in range(0, len(times), 7):
        since = times[place][0]
        sent = sum(size for at, size in times[place:] if at <= since + SECOND // 20)
        assert sent <= SMALL.burst + SMALL.rate // 20 + 2 * (50 + FRAGMENT_COST)


def test_what_left_within_a_round_trip_is_not_sent_again() -> None:
    end = End()
    end.step(Publish(b"x"))
    nack = Nack("test", end.machine.sending.stream, ((1, 1),))
    end.hear(nack, nack)
    assert len(end.told(Piece)) == 1
    end.hear(nack, nack, after=QUICK.round_trip)
    end.hear(nack)
    assert len(end.told(Piece)) == 2
    assert end.notes.count("multicast.repair") == 1


def test_beats_grow_rarer() -> None:
    end = End()
    end.step(Publish(b"x"))
    begun, times = end.now, []
    while end.now < begun + 10 * SECOND:
        end.now = end.deadline
        times += [end.now - begun for send in end.step().eager if isinstance(send.message, Beat)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert times[0] == QUICK.beat_least and gaps == sorted(gaps) and gaps[-1] == QUICK.beat_most


def test_one_that_has_sent_nothing_says_nothing() -> None:
    end = End()
    assert end.machine.deadline is None
    end.let_pass(10 * SECOND)
    assert end.sent == []


def test_nothing_is_kept_beyond_the_limits() -> None:
    end = End()
    for number in range(1_000):
        end.step(Publish(b"%d" % number), after=MILLISECOND)
    assert end.machine.sending.kept <= SMALL.retained
    assert end.machine.sending.high - end.machine.sending.low + 1 <= SMALL.retained // FRAGMENT_COST
    assert end.machine.queued <= 1_000 * (4 + FRAGMENT_COST)


def test_it_tells_when_there_is_room_again() -> None:
    end = End()
    end.step(Publish(b"x"))
    assert end.drained == 1, "all has left"
    for _ in range(SMALL.queue // (400 + 8 * FRAGMENT_COST)):
        end.step(Publish(b"." * 400))
    end.drained = 0
    full = end.machine.queued
    while not end.drained:
        end.now = end.deadline
        end.step()
    assert full > SMALL.queue // 2 >= end.machine.queued > SMALL.queue // 4
    end.let_pass(SECOND)
    assert end.drained == 2 and end.machine.queued == 0


def test_an_empty_payload_is_one() -> None:
    end = End()
    end.step(Publish(b""))
    assert end.told(Piece)[0].body == b"" and end.told(Piece)[0].last
    other = End()
    other.hear(Piece("test", 9, "s", 1, 1, 1, True, True, b""))
    assert payloads(other) == [b""]


# --- the application is slow --------------------------------------------------------------------------------------


def test_more_than_a_backlog_is_not_delivered() -> None:
    end = End()
    body = b"." * 50
    for number in range(1, 200):
        end.hear(piece(number, body))
    count = len(end.got)
    assert SMALL.backlog <= end.machine.backlog <= SMALL.backlog + 50
    end.step(Taken(50 * count))
    assert len(end.got) > count


def test_what_is_nearer_is_kept_rather_than_what_is_farther() -> None:
    end = End()
    end.hear(piece(1), *[piece(number) for number in range(200, 100, -1)])
    (stream,) = end.machine.streams.values()
    assert max(stream._early) < 200 and min(stream._early) == 101
    end.let_pass(QUICK.spread * QUICK.round_trip)
    room = (SMALL.ahead - stream._held) // (SMALL.datagram + FRAGMENT_COST)
    assert room < 5 and end.told(Nack)[0].ranges == ((2, 100), (148, 147 + room)), "there is no room for more"


def test_a_payload_that_is_too_large_is_missed() -> None:
    end = End()
    parts = [piece(number, b"." * 50, first=number == 1, last=False) for number in range(1, 12)]
    end.hear(*parts, piece(12, b"next"))
    assert [type(each) for each in end.got] == [Missed, Arrived]
    assert "multicast.too large" in end.notes
