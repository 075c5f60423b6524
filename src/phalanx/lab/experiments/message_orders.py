"""Message orders: which delivery orders are possible, and what each costs.

Question: in which orders can receivers deliver the messages of the slides' examples, under each of the four orders? How
often does a message have to wait?

Method: receivers made of the product's own parts (hold-back queues, and the matrix of rows that says how late everyone's
clock is) get the messages in every order in which links can bring them, and for total order with every set of
timestamps that the senders' clocks can give. All orders of delivery that come up are collected, at one receiver and at
two at once.

Source: slides L-15 Fault Tolerance, Message Ordering (1), Unordered Multicast (figure 8-14), FIFO Multicast (figure
8-15); Birman, Schiper, Stephenson 1991 for causal, Lamport 1978 for total order; Cheriton and Skeen 1993 for false
causality.

Expected: of n messages n! orders without an order; with FIFO n! over the product of the factorials of what each sender
sends; with causal order as many as there are linear extensions of what happened before what. Two receivers are free of
each other, but for total order: what one delivers, the other does. Any order makes messages wait: causal order those that
overtake what their sender had delivered, whether they have to do with it or not (false causality).
"""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from phalanx.lab.exhaustive import Choices, every
from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Matrix, Tone
from phalanx.model.clock import Stamp
from phalanx.model.view import Order
from phalanx.parts.holdback import Holdback, holdback
from phalanx.parts.stability import Stability

SLIDES = "L-15, Message Ordering (1)"

END: Stamp = 1_000
"""Later than every message: the last row of each sender."""


class Example(NamedTuple):
    """Who sends what, in order, and which messages were delivered by the sender of which others before it sent them."""

    name: str
    sends: tuple[tuple[str, ...], ...]
    causes: tuple[tuple[str, str], ...] = ()

    @property
    def messages(self) -> tuple[str, ...]:
        return tuple(itertools.chain(*self.sends))

    def before(self) -> set[tuple[str, str]]:
        """Happened before: the transitive closure of the senders' orders and the causes."""
        pairs = {pair for sent in self.sends for pair in itertools.combinations(sent, 2)} | set(self.causes)
        while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
            pairs |= more
        return pairs


EXAMPLES = (
    Example("figure 8-14: P1 sends m1, m2", (("m1", "m2"),)),
    Example("figure 8-15: P1 sends m1, m2; P4 m3, m4", (("m1", "m2"), ("m3", "m4"))),
    Example("the same, P4 having delivered m1 first", (("m1", "m2"), ("m3", "m4")), (("m1", "m3"),)),
)
LARGER = (
    Example("three senders of two each", (("m1", "m2"), ("m3", "m4"), ("m5", "m6"))),
    Example("three senders, a chain", (("m1", "m2"), ("m3", "m4"), ("m5", "m6")), (("m1", "m3"), ("m3", "m5"))),
)


class Message(NamedTuple):
    """One batch of one message, as the queues know batches."""

    name: str
    author: int
    number: int
    stamp: Stamp
    after: tuple[int, ...]


Delivered = tuple[str, ...]


class Found(NamedTuple):
    """What came up for one example in one order."""

    example: Example
    order: Order
    datagrams: bool
    """Links may reorder what one sender sends, and each message is delivered on receipt."""
    one: frozenset[Delivered]
    pairs: int
    """Different pairs of orders at two receivers."""
    waits: Fraction
    """Share of messages that are not delivered on receipt, over all orders of arrival."""

    @property
    def name(self) -> str:
        return "no order, datagrams" if self.datagrams else self.order.value


def run(full: bool) -> Result:
    """See the module's text."""
    examples = EXAMPLES + LARGER if full else EXAMPLES
    found = [explore(example, order, datagrams) for example in examples for order, datagrams in KINDS]
    return Result(
        tables=(count_table(found),),
        figures={"orders-counts": count_figure(found)},
        claims=tuple(claims(found)),
    )


KINDS = (
    (Order.UNORDERED, True),
    (Order.UNORDERED, False),
    (Order.FIFO, False),
    (Order.CAUSAL, False),
    (Order.TOTAL, False),
)


# --- execution ----------------------------------------------------------------------------------------------------


class Receiver:
    """Delivers what arrives, as a member of a group does.  Stability is left aside: it decides when, not in which
    order."""

    def __init__(self, order: Order, senders: int) -> None:
        self._queue: Holdback[Message] = holdback(order, senders)
        self._rows = Stability(senders, -1)
        self.delivered: list[str] = []
        self.waited = 0

    def arrive(self, message: Message) -> None:
        """A message comes in."""
        self._queue.add(message)
        self._rows.receive(message.author, message.number, message.stamp)
        self._deliver()
        self.waited += message.name not in self.delivered

    def finish(self) -> None:
        """All senders are heard to have nothing more to send up to now."""
        for author, number in enumerate(self._rows.received):
            self._rows.show(author, END, number, ())
        self._deliver()

    def _deliver(self) -> None:
        ready = self._queue.ready(self._rows.received, self._rows.frontier(), None)
        self.delivered += [message.name for message in ready]


def explore(example: Example, order: Order, datagrams: bool) -> Found:
    """All orders of arrival; for total order, of all timestamps."""
    one: set[Delivered] = set()
    pairs: set[tuple[Delivered, Delivered]] = set()
    waited = runs = 0

    def once(choices: Choices) -> tuple[Delivered, Delivered, int]:
        stamps = schedule(example, choices) if order is Order.TOTAL else example.messages
        return stamps, *receive(example, order, datagrams, stamps, choices)

    by_stamps: dict[Delivered, set[Delivered]] = {}
    for stamps, delivered, waits in every(once):
        by_stamps.setdefault(stamps, set()).add(delivered)
        one.add(delivered)
        waited += waits
        runs += 1
    for outcomes in by_stamps.values():  # receivers share the stamps, and nothing else
        pairs |= set(itertools.product(outcomes, outcomes))
    return Found(example, order, datagrams, frozenset(one), len(pairs), Fraction(waited, runs * len(example.messages)))


def schedule(example: Example, choices: Choices) -> Delivered:
    """An order in which the messages can have been sent: their timestamps follow it."""
    before, left, sent = example.before(), list(example.messages), list[str]()
    while left:
        free = [m for m in left if not any((other, m) in before for other in left)]
        sent.append(choices.pick(free))
        left.remove(sent[-1])
    return tuple(sent)


def receive(
    example: Example, order: Order, datagrams: bool, stamps: Delivered, choices: Choices
) -> tuple[Delivered, int]:
    """One receiver, one order of arrival."""
    before = example.before()
    queues = []
    for author, sent in enumerate(example.sends):
        queue = []
        for number, name in enumerate(sent, 1):
            after = tuple(sum((other, name) in before for other in others) for others in example.sends)
            queue.append(Message(name, author, number, stamps.index(name) + 1, after))
        queues += [[message] for message in queue] if datagrams else [queue]
    if datagrams:  # a link of its own for each: to the receiver it is the only message of an author
        queues = [[m._replace(author=place, number=1)] for place, (m,) in enumerate(queues)]
    receiver = Receiver(order, len(queues))
    for message in _arrivals(queues, choices):
        receiver.arrive(message)
    receiver.finish()
    return tuple(receiver.delivered), receiver.waited


def _arrivals(queues: list[list[Message]], choices: Choices) -> Iterator[Message]:
    """Links keep the order of what is in one queue, and nothing else."""
    while any(queues):
        yield choices.pick([queue for queue in queues if queue]).pop(0)


# --- what is expected ---------------------------------------------------------------------------------------------


def extensions(example: Example) -> int:
    """Linear extensions of happened before, counted by looking at every permutation."""
    before = example.before()
    return sum(
        not any((later, earlier) in before for earlier, later in itertools.combinations(order, 2))
        for order in itertools.permutations(example.messages)
    )


def expected(found: Found) -> tuple[int, int]:
    """At one receiver, and at two."""
    example = found.example
    whole = math.factorial(len(example.messages))
    if found.datagrams:
        count = whole
    elif found.order in (Order.UNORDERED, Order.FIFO):
        count = whole // math.prod(math.factorial(len(sent)) for sent in example.sends)
    else:
        count = extensions(example)
    return count, count if found.order is Order.TOTAL else count**2


def claims(found: list[Found]) -> Iterator[Claim]:
    """The counts; agreement; what false causality costs."""
    for each in found:
        one, two = expected(each)
        yield equal(
            f"{each.name}, {each.example.name}: {one} delivery order{'s' * (one > 1)} at one receiver, {two} "
            f"pair{'s' * (two > 1)} at two",
            SLIDES,
            (one, two),
            (len(each.one), each.pairs),
        )
    fifo, causal = (
        next(f for f in found if f.example.causes and f.order is order) for order in (Order.FIFO, Order.CAUSAL)
    )
    yield equal("FIFO over links that keep the order makes nothing wait", SLIDES, Fraction(0), fifo.waits)
    yield equal(
        "causal order makes messages wait that overtake what their sender had delivered, related or not",
        "Cheriton and Skeen 1993; Virtual Synchrony slides, False Causality",
        overtaking(causal.example),
        causal.waits,
    )


def overtaking(example: Example) -> Fraction:
    """Share of messages that arrive before something that happened before them, over all orders of arrival."""
    before, count, all_ = example.before(), 0, 0
    fifo = {pair for sent in example.sends for pair in itertools.combinations(sent, 2)}
    for order in itertools.permutations(example.messages):
        if not any((later, earlier) in fifo for earlier, later in itertools.combinations(order, 2)):
            all_ += len(order)
            count += sum(any((other, m) in before for other in order[place:]) for place, m in enumerate(order))
    return Fraction(count, all_)


def count_table(found: list[Found]) -> Table:
    """One row for each example and order."""
    columns = ("messages", "order", "orders at one receiver", "pairs at two", "messages that wait")
    rows = tuple((f.example.name, f.name, len(f.one), f.pairs, float(f.waits)) for f in found)
    return Table("Delivery orders that are possible", columns, rows)


def count_figure(found: list[Found]) -> Matrix:
    """Orders at one receiver, and at two."""
    examples = tuple(dict.fromkeys(f.example.name for f in found))
    rows = []
    for name in dict.fromkeys(f.name for f in found):
        cells = [(f"{len(f.one)}; {f.pairs} pairs", _tone(f)) for f in found if f.name == name]
        rows.append((name, tuple(cells)))
    return Matrix("Possible delivery orders at one receiver, and pairs of them at two", examples, tuple(rows))


def _tone(found: Found) -> Tone:
    """Receivers agree, or they do not."""
    return Tone.GOOD if found.pairs == len(found.one) else Tone.PLAIN
