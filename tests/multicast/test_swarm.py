"""Channels under loss, duplication and reordering, on many seeds; and with rules taken out, which must be noticed."""

import random
from typing import Any

import msgspec
import pytest

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.multicast.config import ChannelLimits
from phalanx.multicast.messages import Missed, Nack, Piece
from phalanx.multicast.receiving import Receiving
from phalanx.multicast.sending import Sending
from phalanx.sim.conditions import Conditions
from tests.multicast.world import SMALL, Channels, is_in_order, without_gaps

AMPLE = ChannelLimits(
    datagram=50, payload=400, queue=1 << 20, retained=1 << 20, ahead=5_000, backlog=5_000, rate=1 << 20, burst=2_000
)
"""Whatever is published in a run is kept."""


def storm(seed: int, limits: ChannelLimits, *, slow: bool = False, heavy: bool = False) -> Channels:
    """A few processes publish for two seconds while the network is bad; then it heals.  `heavy`: half of much is lost."""
    rng = random.Random(seed)
    names = ["a", "b", "c", "d"][: rng.randint(2, 4)]

    def take(name: str, _: int) -> int:
        return 20 * MILLISECOND if slow and name == "a" else 0

    loss, count = rng.choice((0, 0.01, 0.1, 0.3, 0.5)), rng.choice((5, 50, 300))
    channels = Channels(names, seed=seed, loss=0.5 if heavy else loss, limits=limits, take=take)
    channels.run(0.1)
    for number in range(500 if heavy else count):
        name, size = rng.choice(names), 390 if heavy else rng.choice((0, 1, 10, 60, 390))
        payload = f"{name}{number}/".encode() + b"." * size
        channels.world.schedule(rng.randrange(2 * SECOND), channels.publish, name, payload)
    channels.run(2.1)
    channels.world.network.loss = 0
    return channels


def wrong_in(channels: Channels) -> list[str]:
    wrong = [] if channels.settled(30) else ["it does not come to an end"]
    wrong += [
        f"{to} of {sender}"
        for (to, sender), got in channels.got.items()
        if not is_in_order(got, channels.published[sender])
    ]
    return wrong + [str(failure) for failure in channels.world.failures]


@pytest.mark.parametrize("seed", range(30))
def test_all_comes_once_and_in_order_if_it_is_kept(seed: int) -> None:
    channels = storm(seed, AMPLE)
    assert wrong_in(channels) == []
    for (_, sender), got in channels.got.items():
        assert without_gaps(got) == channels.published[sender]


@pytest.mark.parametrize("seed", range(30))
def test_what_is_lost_for_good_is_told_in_its_place(seed: int) -> None:
    assert wrong_in(storm(seed, SMALL, slow=seed % 3 == 0, heavy=seed == 10)) == []


def test_some_seeds_lose_something_for_good() -> None:
    """Or the test above says nothing."""
    channels = storm(0, SMALL, heavy=True)
    assert wrong_in(channels) == []
    assert any(isinstance(each, Missed) for got in channels.got.values() for each in got)


def test_a_sender_that_starts_anew_is_another_life() -> None:
    """What of its first life did not come is missed once that has been silent for long, and nothing of the second."""
    channels = Channels(["a", "b"], limits=AMPLE, conditions=Conditions(lossy=True))
    channels.run(0.1)
    channels.publish("a", b"1")
    channels.run(0.1)
    channels.world.network.loss = 1
    channels.publish("a", b"2")
    channels.run(0.003)
    channels.world.network.loss = 0
    channels.publish("a", b"3")
    channels.run(0.001)  # it has come, and there was no time to ask for the other
    channels.world.crash("a")
    channels.world.start("a")
    channels.run(0.1)
    channels.publish("a", b"4")
    channels.run(25)
    first, second, missed = channels.got["b", "a"]
    assert (first, second) == (b"1", b"4") and isinstance(missed, Missed) and missed.fragments == 2
    assert len(channels.machine("b").streams) == 1


# --- with rules taken out -----------------------------------------------------------------------------------------


def found(limits: ChannelLimits = AMPLE) -> list[str]:
    return [wrong for seed in range(6) for wrong in wrong_in(storm(seed, limits))]


def test_without_repairs_gaps_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sending, "on_nack", lambda *_: None)
    assert "it does not come to an end" in found()


def test_without_beats_nobody_misses_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sending, "_beat", lambda self, now, _: setattr(self, "_beat_at", now + SECOND))
    assert "it does not come to an end" in found()


def test_gaps_that_are_skipped_without_a_word_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    skip = Receiving._skip_lost

    def silently(self: Receiving, out: Any) -> bool:
        skipped = skip(self, out)
        out.deliveries[:] = [each for each in out.deliveries if not isinstance(each, Missed)]
        return skipped

    monkeypatch.setattr(Receiving, "_skip_lost", silently)
    runs = [storm(seed, SMALL, heavy=True) for seed in range(2)]
    assert any(" of " in wrong for channels in runs for wrong in wrong_in(channels))


def test_what_is_put_together_from_two_payloads_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that does not look where a payload begins, after a loss."""
    assemble = Receiving._assemble

    def carelessly(self: Receiving, piece: Piece, out: Any) -> int:
        self._skipping = False
        return assemble(self, piece, out)

    monkeypatch.setattr(Receiving, "_assemble", carelessly)
    runs = [storm(seed, SMALL, heavy=True) for seed in range(3)]
    assert any(" of " in wrong for channels in runs for wrong in wrong_in(channels))


def test_with_little_room_beyond_a_gap_it_takes_longer_and_no_more() -> None:
    tight = msgspec.structs.replace(AMPLE, ahead=1_200)
    assert found(tight) == []


def test_the_oracle_sees_what_it_should() -> None:
    gap = Missed("a", 1, 1)
    sent = [b"1", b"2", b"3"]
    assert is_in_order([b"1", b"2", b"3"], sent) and is_in_order([b"1", gap, b"3"], sent)
    assert is_in_order([b"1", gap], sent)
    for got in ([b"1", b"3"], [b"2", b"1", b"3"], [b"1", b"1", b"2", b"3"], [b"1", b"2"], [b"1", b"x", b"2", b"3"]):
        assert not is_in_order(got, sent)


def test_requests_name_what_is_lacking_and_nothing_else() -> None:
    asked: list[Nack] = []
    channels = Channels(["a", "b"], limits=AMPLE)
    channels.run(0.1)
    hear = channels.machine("a")._hear

    def look(message: Any, now: int, out: Any) -> None:
        if isinstance(message, Nack):
            asked.append(message)
        hear(message, now, out)

    channels.machine("a")._hear = look  # type: ignore[method-assign]  # to see what comes
    channels.world.network.loss = 0.5
    for number in range(50):
        channels.publish("a", b"%d" % number)
        channels.run(0.005)
    channels.world.network.loss = 0
    assert channels.settled() and asked
    high = channels.machine("a").sending.high
    assert all(1 <= first <= last <= high for nack in asked for first, last in nack.ranges)
