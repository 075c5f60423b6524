"""Reliable multicast, executed; and with rules taken out of the textbook's machines and the product's."""

from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.lab.experiments import reliable_multicast
from phalanx.lab.experiments.reliable_multicast import PRODUCT, SHARE, Measured, copies, uniform_requests
from phalanx.lab.figures.model import Lines
from phalanx.lab.textbook import feedback
from phalanx.lab.textbook.feedback import Ack, Nack, Receiver, Source, Way
from phalanx.lab.textbook.implosion import Round, by_product, by_textbook
from phalanx.model.machine import Received
from phalanx.multicast import receiving
from phalanx.multicast.suppression import backoff
from tests.lab.experiments.runs import breaks, failing, short


def requests(receivers: int = 100, rounds: int = 10) -> list[str]:
    """The claims on requests of so many receivers that do not hold now."""
    measured = [
        Measured(Way.UNIFORM.value, receivers, by_textbook(Way.UNIFORM, receivers, 10, loss=None)),
        Measured(PRODUCT, receivers, by_product(receivers, rounds)),
    ]
    found = failing(reliable_multicast.implosion_claims(measured))
    return [text.rpartition(": ")[0] for text in found if text.endswith("requests")]


def told(way: Way, receivers: int = 30) -> list[str]:
    """The claims that do not hold now on what the source is told, one way, and on its copies."""
    ways = dict.fromkeys((way, Way.NEGATIVE))
    measured = [Measured(each.value, receivers, by_textbook(each, receivers, 2, loss=None)) for each in ways]
    return failing(reliable_multicast.implosion_claims(measured))


def losing(p: float = 0.2, receivers: int = 10, count: int = 100) -> list[str]:
    """The claims on copies and acknowledgements with losses that do not hold now."""
    found = reliable_multicast.loss_claims({(p, receivers): reliable_multicast.losses(p, receivers, count)})
    return [text.partition(": ")[2] for text in failing(found)]


# --- requests -----------------------------------------------------------------------------------------------------


@breaks("reliable-multicast", "the product: exponential waits: * receivers make * requests")
def test_a_product_with_uniform_waits_has_as_many_requests_as_srm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requests() == []
    monkeypatch.setattr(receiving, "backoff", lambda chance, interval, _: int(chance * interval))
    assert requests() == [PRODUCT]
    heard = [each.heard for each in by_product(100, 10)]
    assert abs(sum(heard) / 10 - uniform_requests(100)) < 4


@breaks("reliable-multicast", "of a thousand receivers that lack the same, the product has fewer than a hundredth ask")
def test_a_product_that_takes_itself_for_a_small_group_has_too_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "backoff", lambda chance, interval, _: backoff(chance, interval, 10))
    measured = [
        Measured(Way.NEGATIVE.value, 1_000, [Round(2, 1_000)]),  # as the short form finds
        Measured(PRODUCT, 1_000, by_product(1_000, 1)),
    ]
    assert failing([reliable_multicast.largest_claim(measured)])


@breaks("reliable-multicast", "the product: exponential waits: * receivers make * requests")
def test_a_product_that_does_not_heed_the_requests_of_others_implodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is spared only what the repair comes before."""
    monkeypatch.setattr(receiving, "covered", lambda *_: False)
    assert requests(rounds=40) == [PRODUCT]


@breaks("reliable-multicast", "multicast, uniform waits: * receivers make * requests")
def test_receivers_that_do_not_hear_each_other_all_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without suppression SRM is a slower negative acknowledgement: but for those to whom the repair comes first."""
    step = Receiver.step

    def deaf(self: Receiver, events: Iterable[Any], now: Any) -> Any:
        return step(self, [e for e in events if not (isinstance(e, Received) and isinstance(e.message, Nack))], now)

    monkeypatch.setattr(Receiver, "step", deaf)
    assert requests() == [Way.UNIFORM.value]


@breaks("reliable-multicast", "and one copy more repairs it for all, whoever asks")
def test_a_source_that_answers_each_request_sends_more_than_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(Way.UNIFORM, 100) == []
    monkeypatch.setattr(feedback, "ROUND_TRIP_NS", 0)
    assert "and one copy more repairs it for all, whoever asks" in told(Way.UNIFORM, 100)


@breaks("reliable-multicast", "positive acknowledgements: each receiver acknowledges each message, so there are n")
def test_receivers_that_acknowledge_every_other_message_say_less(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Receiver.step

    def lazy(self: Receiver, events: Iterable[Any], now: Any) -> Any:
        out = step(self, events, now)
        out.eager = [send for send in out.eager if not isinstance(send.message, Ack) or send.message.number % 2]
        return out

    assert told(Way.POSITIVE) == []
    monkeypatch.setattr(Receiver, "step", lazy)
    assert told(Way.POSITIVE)


@breaks("reliable-multicast", "negative acknowledgements: each lacks it, and says so, so there are n")
def test_receivers_that_wait_before_they_complain_are_spared_some_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(Way.NEGATIVE) == []
    monkeypatch.setattr(Receiver, "_wait", lambda self: int(self._rng.random() * feedback.INTERVAL_NS))
    assert told(Way.NEGATIVE)


# --- copies -------------------------------------------------------------------------------------------------------


@breaks("reliable-multicast", "* receiver*, p = *: positive acknowledgements are n (1 - p) for each copy")
def test_receivers_that_acknowledge_only_the_first_copy_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Receiver.step

    def once(self: Receiver, events: Iterable[Any], now: Any) -> Any:
        had = self.got
        out = step(self, events, now)
        out.eager = [send for send in out.eager if not (isinstance(send.message, Ack) and send.message.number == had)]
        return out

    assert losing() == []
    monkeypatch.setattr(Receiver, "step", once)
    assert losing() == ["positive acknowledgements are n (1 - p) for each copy"]


@breaks("reliable-multicast", "* receiver*, p = *: negative ones are n p / (1 - p)")
def test_receivers_that_complain_twice_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Receiver.step

    def twice(self: Receiver, events: Iterable[Any], now: Any) -> Any:
        out = step(self, events, now)
        out.eager += [send for send in out.eager if isinstance(send.message, Nack)]
        return out

    monkeypatch.setattr(Receiver, "step", twice)
    assert losing() == ["negative ones are n p / (1 - p)"]


@breaks("reliable-multicast", "* receiver*, p = *: a message takes * copies with negative acknowledgements")
def test_a_source_that_repairs_twice_sends_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    send_once = Source._send

    def twice(self: Source, now: int, out: Any) -> None:
        for _ in range(2 if self.sent[-1] else 1):
            send_once(self, now, out)

    monkeypatch.setattr(Source, "_send", twice)
    assert any(text.endswith("copies with negative acknowledgements") for text in losing())


@breaks("reliable-multicast", "* receiver*, p = *: a message takes * copies with positive acknowledgements")
def test_a_source_that_does_not_wait_for_acknowledgements_sends_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "ROUND_TRIP_NS", 0)
    assert any(text.endswith("copies with positive acknowledgements") for text in losing())


# --- the formulas -------------------------------------------------------------------------------------------------


def test_one_receiver_needs_as_many_copies_as_the_geometric_distribution_says() -> None:
    mean, deviation = copies(0.2, 1)
    assert abs(mean - 1 / 0.8) < 1e-9 and abs(deviation - 0.2**0.5 / 0.8) < 1e-9


@pytest.mark.parametrize("receivers", [1, 2, 5])
def test_uniform_requests_of_few_are_what_can_be_counted(receivers: int) -> None:
    """Alone one asks; of two the second asks if the waits are less than d apart: 2 d - d^2."""
    by_hand = {1: 1.0, 2: 1 + 2 * SHARE - SHARE**2}
    assert uniform_requests(receivers) == pytest.approx(by_hand.get(receivers, 1 + 5 * SHARE - SHARE**5))


def test_the_figure_has_a_formula_and_marks_for_each_way() -> None:
    figure = short("reliable-multicast").figures["multicast-implosion"]
    assert isinstance(figure, Lines) and figure.log_x and figure.log_y
    assert [series.marks for series in figure.series] == [False, True] * 3
    assert figure.series[-1].points[-1][0] == 1_000.0
