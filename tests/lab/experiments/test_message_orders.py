"""The four orders on the slides' examples; and with rules taken out of the product's queues, which the table shows."""

import itertools
from collections import deque

import pytest

from phalanx.lab.experiments import message_orders
from phalanx.lab.experiments.message_orders import EXAMPLES, LARGER, Message, Receiver, explore, extensions
from phalanx.model.clock import Stamp
from phalanx.model.view import Order
from phalanx.parts.holdback import Causal, Total
from tests.lab.experiments.runs import failing

FIGURE = EXAMPLES[1]
CAUSED = EXAMPLES[2]


def claims_that_fail() -> list[str]:
    return failing(message_orders.run(False))


def test_happened_before_is_transitive() -> None:
    chain = LARGER[1]
    assert ("m1", "m6") in chain.before()
    assert ("m2", "m3") not in chain.before()
    assert extensions(chain) == sum(1 for _ in explore(chain, Order.CAUSAL, False).one)


def test_causal_deliveries_are_exactly_the_linear_extensions() -> None:
    orders = {
        order
        for order in itertools.permutations(CAUSED.messages)
        if order.index("m1") < min(order.index("m2"), order.index("m3")) and order.index("m3") < order.index("m4")
    }
    assert explore(CAUSED, Order.CAUSAL, False).one == orders


def test_equal_timestamps_are_settled_by_rank() -> None:
    for arrival in itertools.permutations((0, 1)):
        receiver = Receiver(Order.TOTAL, 2)
        for author in arrival:
            receiver.arrive(Message(f"of {author}", author, 1, 7, (0, 0)))
        receiver.finish()
        assert receiver.delivered == ["of 0", "of 1"]


def test_causal_order_without_its_rule_is_fifo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Causal, "_due", lambda _, __: True)
    wrong = claims_that_fail()
    assert any(text.startswith("causal, the same") for text in wrong)
    assert any(text.startswith("causal order makes messages wait") for text in wrong)


def test_total_order_on_receipt_lets_receivers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Total[Message], stable: object, frontier: Stamp, may: object) -> list[Message]:
        del stable, frontier, may
        taken: list[Message] = []
        for queue in self.pending:
            while queue:
                self._take(queue, taken)
        return taken

    monkeypatch.setattr(Total, "ready", at_once)
    assert any(text.startswith("total, figure 8-15") for text in claims_that_fail())


def test_total_order_by_author_alone_does_not_settle_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an author has sent is delivered before what comes of others: by rank, not by time."""

    def any_queue(self: Total[Message]) -> deque[Message] | None:
        return next((queue for queue in self.pending if queue), None)

    monkeypatch.setattr(Total, "_first", any_queue)
    assert any(text.startswith("total, ") for text in claims_that_fail())
