"""Branches of a bank that pay each other by multicasts to their group, and are asked how much money there is.

A payment is on its way from the moment at which its branch has multicast it until its target has delivered it.  Each
branch's state says what it holds, how many payments it has sent, and how many of each branch it has delivered: so from
the states alone it can be told what must be in each channel.

Two ways of asking: a snapshot of Chandy and Lamport, which is the product's own (replication/globalstate.py), and a
`Poll`, in which everybody answers with what it holds when the question comes.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from phalanx.errors import NotHappened, Unavailable
from phalanx.lab.textbook.membership import Application, Members
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Delivered, Installed
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import GroupSpec, Name
from phalanx.replication.globalstate import PLAIN, Key, Recorder, Taken
from phalanx.sim.conditions import Conditions

START = 100
"""What each branch holds in the beginning."""

PAY_EVERY_NS = 6 * MILLISECOND
ASK_EVERY_NS = 100 * MILLISECOND

SLOW = Conditions(stagger_ns=0, delay_min_ns=MILLISECOND, delay_spread_ns=20 * MILLISECOND)
"""A network in which something is always under way."""


DETOUR_NS = 40 * MILLISECOND
"""From the one who asks to the last branch a message takes so much longer: what others send after they were asked can be
there before the question."""


class Payment(msgspec.Struct, frozen=True, array_like=True):
    """Of one branch, by its own count."""

    number: int
    target: Name
    amount: int


class Books(msgspec.Struct, frozen=True, array_like=True):
    """What a branch records."""

    balance: int
    sent: int
    received: dict[Name, int]


encode = msgspec.msgpack.Encoder().encode
payment_of = msgspec.msgpack.Decoder(Payment).decode
books_of = msgspec.msgpack.Decoder(Books).decode


class Asking(Protocol):
    """A way of asking: the interface of the product's `Recorder`."""

    results: list[tuple[Key, GlobalState | NotHappened]]

    def installed(self, view: int, hosts: Sequence[Name]) -> None:
        """A view begins."""

    def start(self) -> tuple[Key, bytes] | None:
        """Ask all."""

    def take(self, sender: Name, payload: bytes) -> Taken:
        """A payload was delivered."""


class Recording(Protocol):
    """Whoever has a state."""

    name: Name

    def record(self) -> bytes:
        """It, now."""


class Poll:
    """Everybody answers at once, and nobody looks at what is on its way."""

    def __init__(self, branch: Recording) -> None:
        self.results: list[tuple[Key, GlobalState | NotHappened]] = []
        self._branch = branch
        self._hosts: tuple[Name, ...] = ()
        self._count = 0
        self._answers: dict[Name, bytes] = {}

    def installed(self, view: int, hosts: Sequence[Name]) -> None:  # noqa: ARG002  there is one view
        """A view begins."""
        self._hosts = tuple(hosts)

    def start(self) -> tuple[Key, bytes] | None:
        """Ask all."""
        self._count += 1
        self._answers.clear()
        return Key(0, self._branch.name, self._count), b"?" + self._branch.name.encode()

    def take(self, sender: Name, payload: bytes) -> Taken:
        """A payload was delivered: a payment, the question, or an answer to somebody."""
        kind, body = payload[:1], payload[1:]
        if kind == PLAIN:
            return Taken(body)
        if kind == b"?":
            return Taken(None, (b"!" + self._branch.record(),))
        self._answers[sender] = body
        if self._count and self._answers.keys() == set(self._hosts):
            self.results.append((Key(0, self._branch.name, self._count), GlobalState(0, dict(self._answers), {})))
            self._answers.clear()
        return Taken(None)


class Branch:
    """One of them.  `polls`: it is asked by a poll, and not by snapshots."""

    def __init__(self, name: Name, names: Sequence[Name], *, polls: bool) -> None:
        self.name = name
        self.balance = START
        self.sent: list[Payment] = []
        self.multicasts = 0
        """Of the questions: all but payments."""
        self.steps: list[tuple[str, Name, Name, Any]] = []
        """What happened here to questions and payments, for a drawing: what, from whom, at whom."""
        self._received = dict.fromkeys(names, 0)
        self.asking: Asking = Poll(self) if polls else Recorder(name, self.record)

    def record(self) -> bytes:
        """The state, between two deliveries."""
        self.steps.append(("records", self.name, self.name, self.balance))
        return encode(Books(self.balance, len(self.sent), self._received))

    def pay(self, target: Name, amount: int) -> bytes:
        """What is to be multicast: it is on its way from now on."""
        payment = Payment(len(self.sent) + 1, target, amount)
        self.sent.append(payment)
        self.balance -= amount
        return PLAIN + encode(payment)

    def ask(self) -> bytes:
        """What is to be multicast to ask all."""
        begun = self.asking.start()
        assert begun is not None, "the group is founded"
        self.multicasts += 1
        return begun[1]

    def take(self, delivery: Any) -> Iterator[bytes]:
        """A delivery of the group."""
        match delivery:
            case Installed(view):
                self.asking.installed(view.id, [name for group in view.groups for name in group.hosts])
            case Delivered(sender=sender, payloads=payloads):
                for payload in map(bytes, payloads):
                    yield from self._take(sender.name, payload)
            case _:
                pass

    def _take(self, sender: Name, payload: bytes) -> Iterable[bytes]:
        if payload[:1] != PLAIN:
            self.steps.append(("question", sender, self.name, payload))
        taken = self.asking.take(sender, payload)
        if taken.payload is not None:
            payment = payment_of(taken.payload)
            self._received[sender] += 1
            self.steps.append(("payment", sender, self.name, payment))
            if payment.target == self.name:
                self.balance += payment.amount
        self.multicasts += len(taken.sends)
        return taken.sends


class Cut(NamedTuple):
    """One answer to the question how much money there is."""

    at_ns: int
    state: GlobalState
    payments: dict[Name, tuple[Payment, ...]]
    """All that each branch sent in the run."""

    @property
    def books(self) -> dict[Name, Books]:
        return {name: books_of(state) for name, state in self.state.states.items()}

    @property
    def moving(self) -> int:
        """Money under way, in the channels to those whose it is."""
        found = 0
        for (_, target), payloads in self.state.channels.items():
            found += sum(p.amount for p in map(payment_of, payloads) if p.target == target)
        return found

    @property
    def money(self) -> int:
        """All that was found."""
        return sum(books.balance for books in self.books.values()) + self.moving

    @property
    def wrong_channels(self) -> int:
        """Channels that hold anything else than what was sent before the one recorded, and not received before the other
        did: the definition of a channel's state (section 2 of the paper)."""
        books, wrong = self.books, 0
        for source in books:
            for target in books:
                sent = self.payments[source]
                expected = sent[books[target].received[source] : books[source].sent]
                found = map(payment_of, self.state.channels.get((source, target), ()))
                wrong += tuple(found) != expected
        return wrong

    @property
    def orphans(self) -> int:
        """Payments that one shows as received and another does not show as sent: then no such state can be."""
        books = self.books
        return sum(max(0, books[target].received[source] - books[source].sent) for source in books for target in books)


class Audit(NamedTuple):
    """One run."""

    spec: GroupSpec
    polls: bool
    cuts: tuple[Cut, ...]
    asked: int
    multicasts: int
    """For the questions and all that follows from them."""
    steps: tuple[tuple[str, Name, Name, Any], ...]


class Spoiled(NamedTuple):
    """A run in which a branch crashes while a snapshot is taken."""

    after_ns: int
    """So long after the question."""
    whole: bool
    """There was a snapshot; else the view ended before."""
    money: int
    next: Cut | None
    """The next one."""


def spoil(names: Sequence[Name], spec: GroupSpec, after_ns: int) -> Spoiled:
    """The last branch crashes so long after the first has asked; when the others are in a view without it, it asks
    again.  Nobody pays the one that crashes, so what it held in the beginning is gone and no more."""
    branches = {name: Branch(name, names, polls=False) for name in names}
    applications: dict[Name, Application] = dict(branches)
    members = Members(names, spec, applications, conditions=SLOW)
    members.found()
    world, first, alive = members.world, branches[names[0]], names[:-1]

    def pay(source: Name, target: Name) -> None:
        members.multicast(source, branches[source].pay(target, 1))

    for number in range(200):
        source, target = alive[number % len(alive)], alive[(number + 1) % len(alive)]
        world.schedule(number * PAY_EVERY_NS, pay, source, target)
    world.run_for(10 * PAY_EVERY_NS)
    members.multicast(first.name, first.ask())
    world.schedule(after_ns, world.crash, names[-1])
    assert world.run_while(lambda: not members.is_whole(alive), 60 * SECOND), "the others do not go on"
    ((_, result),) = first.asking.results
    first.asking.results = []
    members.multicast(first.name, first.ask())
    world.run_for(2 * SECOND)
    payments = {name: tuple(branches[name].sent) for name in names}
    ((_, again),) = first.asking.results
    assert not world.failures, world.failures
    assert isinstance(result, GlobalState | Unavailable)
    cuts = [Cut(world.now, each, payments) if isinstance(each, GlobalState) else None for each in (result, again)]
    return Spoiled(after_ns, cuts[0] is not None, 0 if cuts[0] is None else cuts[0].money, cuts[1])


def audit(names: Sequence[Name], spec: GroupSpec, questions: int, *, polls: bool, seed: int = 1) -> Audit:
    """Branches pay each other at random, and one of them asks again and again."""
    rng = random.Random(f"payments {seed}")
    steps: list[tuple[str, Name, Name, Any]] = []
    branches = {name: Branch(name, names, polls=polls) for name in names}
    applications: dict[Name, Application] = dict(branches)
    for branch in branches.values():
        branch.steps = steps
    members = Members(names, spec, applications, seed=seed, conditions=SLOW)
    members.found()
    world, until = members.world, questions * ASK_EVERY_NS
    world.network.pipe(world.nodes[names[0]], world.nodes[names[-1]]).slow_ns = DETOUR_NS

    def pay(name: Name) -> None:
        members.multicast(name, branches[name].pay(rng.choice(names), rng.randint(1, 9)))

    def ask() -> None:
        members.multicast(names[0], branches[names[0]].ask())

    for name in names:
        for number in range(until // PAY_EVERY_NS):
            world.schedule(number * PAY_EVERY_NS + rng.randrange(PAY_EVERY_NS), pay, name)
    for number in range(questions):
        world.schedule(number * ASK_EVERY_NS, ask)
    cuts: list[tuple[int, GlobalState]] = []
    begun = world.now
    for _ in range(until // MILLISECOND + 1_000):
        world.run_for(MILLISECOND)
        results, branches[names[0]].asking.results = branches[names[0]].asking.results, []
        cuts += [(world.now - begun, state) for _, state in results if isinstance(state, GlobalState)]
    world.run_for(SECOND)
    assert not world.failures, world.failures
    payments = {name: tuple(branch.sent) for name, branch in branches.items()}
    multicasts = sum(branch.multicasts for branch in branches.values())
    return Audit(
        spec, polls, tuple(Cut(at, state, payments) for at, state in cuts), questions, multicasts, tuple(steps)
    )
