"""The four orders on the slides' examples; and with rules taken out of the product's queues, which the table shows."""

import itertools
from collections import deque
from typing import Any

import pytest

from phalanx.lab.experiments import message_orders
from phalanx.lab.experiments.message_orders import EXAMPLES, LARGER, Message, Receiver, explore, extensions
from phalanx.model.clock import Stamp
from phalanx.model.view import Order
from phalanx.parts.holdback import Causal, OnReceipt, Total
from tests.lab.experiments.runs import breaks, failing

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


@breaks(
    "message-orders",
    "causal, *: * delivery order* at one receiver, * at two",
    "causal order makes messages wait that overtake what their sender had delivered, related or not",
)
def test_causal_order_without_its_rule_is_fifo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Causal, "_due", lambda _, __: True)
    wrong = claims_that_fail()
    assert any(text.startswith("causal, the same") for text in wrong)
    assert any(text.startswith("causal order makes messages wait") for text in wrong)


@breaks("message-orders", "total, *: * delivery order* at one receiver, * at two")
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


@breaks("message-orders", "total, *: * delivery order* at one receiver, * at two")
def test_total_order_by_author_alone_does_not_settle_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an author has sent is delivered before what comes of others: by rank, not by time."""

    def any_queue(self: Total[Message]) -> deque[Message] | None:
        return next((queue for queue in self.pending if queue), None)

    monkeypatch.setattr(Total, "_first", any_queue)
    assert any(text.startswith("total, ") for text in claims_that_fail())


def found(*orders: tuple[Order, bool]) -> list[str]:
    """The claims on two of the examples that do not hold now, for these orders and what the last claims look at."""
    kinds = dict.fromkeys((*orders, (Order.FIFO, False), (Order.CAUSAL, False)))
    some = [explore(example, *kind) for example in (FIGURE, CAUSED) for kind in kinds]
    return failing(message_orders.claims(some))


@breaks(
    "message-orders",
    "no order, datagrams, *: * delivery order* at one receiver, * at two",
    "unordered, *: * delivery order* at one receiver, * at two",
    "fifo, *: * delivery order* at one receiver, * at two",
    "FIFO over links that keep the order makes nothing wait",
)
def test_a_queue_that_waits_until_all_were_heard_has_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not ordered is held back until nothing more can come, as if it were."""
    ready = OnReceipt.ready

    def late(self: OnReceipt[Message], stable: Any, frontier: Stamp, may: Any) -> list[Message]:
        return ready(self, stable, frontier, may) if frontier == message_orders.END else []

    assert found((Order.UNORDERED, True), (Order.UNORDERED, False)) == []
    monkeypatch.setattr(OnReceipt, "ready", late)
    assert len(found((Order.UNORDERED, True), (Order.UNORDERED, False))) == 7


@breaks("message-orders", "fifo, *: * delivery order* at one receiver, * at two")
def test_fifo_that_delivers_the_newest_first_is_no_fifo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold-back queue that is a stack, and is emptied now and then only."""

    def newest(self: OnReceipt[Message], stable: Any, *_: Any) -> list[Message]:
        del stable
        taken: list[Message] = []
        if sum(map(len, self.pending)) > 1 or not any(self.delivered):
            for queue in self.pending:
                queue.reverse()
                while queue:
                    self._take(queue, taken)
        return taken

    monkeypatch.setattr(OnReceipt, "ready", newest)
    assert any(text.startswith("fifo, ") for text in found())
