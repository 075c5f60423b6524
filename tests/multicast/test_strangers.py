"""What a multicast channel makes of datagrams that no member sends, of settings that cannot work, and of chance."""

import random
from typing import Any

import pytest

from phalanx.errors import ConfigurationError
from phalanx.lab.experiments.reliable_multicast import expected_requests
from phalanx.model.clock import SECOND
from phalanx.model.machine import LinkUp
from phalanx.multicast.config import FRAGMENT_COST, ChannelLimits, ChannelTiming
from phalanx.multicast.messages import Beat, Nack, Piece, Publish
from phalanx.multicast.suppression import backoff
from tests.multicast.end import End, beat, piece
from tests.multicast.world import QUICK, SMALL

# --- strangers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "text",
        piece(3, low=4, high=3),
        piece(9, high=8),
        piece(1, b"x" * 401),
        beat(1, low=9),
        beat(0, low=0),
        Nack("test", 9, ((3, 2),)),
        Nack("test", 9, ((1, 5), (4, 6))),
        Nack("test", 9, ((0, 5),)),
    ],
)
def test_what_no_member_says_changes_nothing(message: Any) -> None:
    end = End()
    end.hear(message)
    assert end.machine.streams == {} and end.got == [] and end.notes == ["multicast.foreign"]


def test_other_channels_and_ones_own_datagrams_are_not_heard() -> None:
    end = End()
    end.step(LinkUp("x"), Publish(b"x"))
    (own,) = end.told(Piece)
    end.hear(Piece("other", 9, "s", 1, 1, 1, True, True, b"x"), own, Beat("other", 9, "s", 1, 1))
    assert end.machine.streams == {} and end.got == []


def test_only_so_many_senders_are_heard() -> None:
    end = End(ChannelLimits(streams=2))
    end.hear(*[Piece("test", stream, f"s{stream}", 1, 1, 1, True, True, b"x") for stream in (1, 2, 3)])
    assert set(end.machine.streams) == {1, 2} and "multicast.too many" in end.notes


def test_a_claim_of_numbers_without_end_costs_nothing() -> None:
    end = End()
    end.hear(piece(1), beat((1 << 62) - 1))
    end.let_pass(SECOND)
    assert end.told(Nack)[0].ranges == ((2, 1 + SMALL.ahead // (SMALL.datagram + FRAGMENT_COST)),)
    end.step(Publish(b"x"))
    end.hear(Nack("test", end.machine.sending.stream, ((1, (1 << 62) - 1),)), after=SECOND)
    assert [each.number for each in end.told(Piece)] == [1, 1]


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "timing", "said"),
    [
        (ChannelLimits(rate=0), QUICK, "rate is 0"),
        (ChannelLimits(datagram=65_000, burst=1 << 20), QUICK, "at most 60,000"),
        (ChannelLimits(retained=1 << 20), QUICK, "retained is 1048576"),
        (SMALL, ChannelTiming(beat_least=2 * SECOND), "must grow in this order"),
        (SMALL, ChannelTiming(receivers=0), "receivers is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(limits: ChannelLimits, timing: ChannelTiming, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        End(limits, timing)


# --- suppression --------------------------------------------------------------------------------------------------


def test_delays_follow_their_distribution() -> None:
    """Its median: F(t) = 1/2."""
    delays = sorted(backoff(n / 1_000, 1_000_000, 100) for n in range(1_000))
    assert delays[0] == 0 and delays[-1] < 1_000_000
    assert delays[500] == backoff(0.5, 1_000_000, 100) > 800_000, "most wait for long"


@pytest.mark.parametrize(("receivers", "share"), [(1, 0.2), (10, 0.25), (100, 0.125), (1_000, 0.125), (50, 0.9)])
def test_the_expected_number_of_requests_is_what_draws_give(receivers: int, share: float) -> None:
    rng = random.Random(f"{receivers} {share}")
    rounds, total = 400, 0
    for _ in range(rounds):
        delays = sorted(backoff(rng.random(), 1 << 40, receivers) for _ in range(receivers))
        total += sum(delay <= delays[0] + share * (1 << 40) for delay in delays)
    expected = expected_requests(receivers, share, receivers)
    assert abs(total / rounds - expected) < 0.15 * expected
    assert expected_requests(receivers, 1.0, receivers) == receivers
