"""Reliable multicast, executed; and with rules taken out of the textbook's machines and the product's."""

from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.lab.experiments import reliable_multicast
from phalanx.lab.experiments.reliable_multicast import PRODUCT, SHARE, Measured, copies, expected, uniform_requests
from phalanx.lab.experiments.result import Claim
from phalanx.lab.figures.model import Lines
from phalanx.lab.textbook import feedback
from phalanx.lab.textbook.feedback import Ack, Nack, Receiver, Way
from phalanx.lab.textbook.implosion import by_product, by_textbook
from phalanx.model.machine import Received
from phalanx.multicast import receiving
from tests.lab.experiments.runs import short


def wrong(claims: Iterable[Claim]) -> list[str]:
    return [claim.text for claim in claims if not claim.holds]


def requests(receivers: int = 100, rounds: int = 10) -> list[str]:
    """The claims on requests of so many receivers that do not hold now."""
    measured = [
        Measured(Way.UNIFORM.value, receivers, by_textbook(Way.UNIFORM, receivers, 10, loss=None)),
        Measured(PRODUCT, receivers, by_product(receivers, rounds)),
    ]
    found = [
        (each.way, abs(each.heard - mean) > reliable_multicast.margin(each, mean))
        for each in measured
        for mean in [expected(each.way, receivers)]
    ]
    return [way for way, off in found if off]


def losing(p: float = 0.2, receivers: int = 10, count: int = 100) -> list[str]:
    found = reliable_multicast.loss_claims({(p, receivers): reliable_multicast.losses(p, receivers, count)})
    return [text.partition(": ")[2] for text in wrong(found)]


# --- requests -----------------------------------------------------------------------------------------------------


def test_a_product_with_uniform_waits_has_as_many_requests_as_srm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requests() == []
    monkeypatch.setattr(receiving, "backoff", lambda chance, interval, _: int(chance * interval))
    assert requests() == [PRODUCT]
    heard = [each.heard for each in by_product(100, 10)]
    assert abs(sum(heard) / 10 - uniform_requests(100)) < 4


def test_a_product_that_does_not_heed_the_requests_of_others_implodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is spared only what the repair comes before."""
    monkeypatch.setattr(receiving, "covered", lambda *_: False)
    assert requests(rounds=40) == [PRODUCT]


def test_receivers_that_do_not_hear_each_other_all_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without suppression SRM is a slower negative acknowledgement: but for those to whom the repair comes first."""
    step = Receiver.step

    def deaf(self: Receiver, events: Iterable[Any], now: Any) -> Any:
        return step(self, [e for e in events if not (isinstance(e, Received) and isinstance(e.message, Nack))], now)

    monkeypatch.setattr(Receiver, "step", deaf)
    assert requests() == [Way.UNIFORM.value]


def test_a_source_that_answers_each_request_sends_more_than_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "ROUND_TRIP_NS", 0)
    assert max(each.sent for each in by_textbook(Way.UNIFORM, 100, 3, loss=None)) > 2


# --- copies -------------------------------------------------------------------------------------------------------


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


def test_a_source_that_does_not_wait_for_acknowledgements_sends_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "ROUND_TRIP_NS", 0)
    assert "a message takes 2.32 copies with positive acknowledgements" in losing()


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
