"""Split brain: a primary partition against optimistic merging, and what each loses.

Question: the network falls apart, and clients of all its parts go on asking. Either one part at most may go on, or each
goes on and the states are merged later. What does a client get, and what is it worth afterwards?

Method: five replicas (once four) sell ten seats. The network is split, each replica is asked for four seats, and the
network heals. The primary partition is the product's own: machines of a process group in the simulator, which sell what
is delivered to them in total order. The others answer at once, and find by version vectors that their states are in
conflict; that is settled by taking the state that was written last, or the union. All answers are held against what the
replicas know in the end.

Source: slides Principles of Reliable Communication (Piper), Consensus and Split Brain; Jajodia and Mutchler 1990
and docs/protocols/view-change.md for the quorum; Parker et al. 1983 for version vectors.

Expected: with a primary partition the replicas that answer are those of a part that holds more than half of the members,
or half with the eldest; there is at most one. What was answered stays true, and no more is sold than there is. Requests
elsewhere wait, in vain if the others went on. Merging answers everybody. Each part sells what it believes to have, so
more is promised than there is; and the later write forgets all that the other parts sold.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from phalanx.group.config import Config
from phalanx.group.machine import GroupMachine
from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Bars
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.textbook.optimistic import Answer, Merge, Replica, Sell
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import (
    Consumed,
    Delivered,
    Excluded,
    Founded,
    Multicast,
    Restored,
    SnapshotTaken,
    SnapshotWanted,
)
from phalanx.model.machine import Machine
from phalanx.model.view import GroupId, GroupSpec, Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

PIPER = "Piper, Consensus and Split Brain"
QUORUM = "Jajodia and Mutchler 1990; docs/protocols/view-change.md"

SEATS = 10
ASKED = 4
"""Requests at each replica during the split."""

SETTLE_NS = 5 * SECOND
"""The parts have found out what has happened to them."""

SPLIT_NS = 10 * SECOND
"""From the first request to the end of the split."""

PATIENCE_NS = 60 * SECOND

SPEC = GroupSpec("seats")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[str]).decode

Parts = tuple[tuple[Name, ...], ...]

SPLITS: tuple[Parts, ...] = (
    (("A", "B", "C"), ("D", "E")),
    (("A", "B"), ("C", "D", "E")),
    (("A",), ("B", "C", "D", "E")),
    (("A", "B"), ("C", "D"), ("E",)),
    (("A", "B"), ("C", "D")),
)
"""In order of seniority: A is the eldest."""


class Promise(NamedTuple):
    """What a replica told a customer."""

    customer: str
    at: Name
    sold: bool
    at_ns: int


class Sale(NamedTuple):
    """One run."""

    parts: Parts
    how: str
    answers: dict[str, Promise]
    """By customer: those that got one."""
    healed_ns: int
    known: dict[Name, frozenset[str]]
    """What each replica has sold in the end, for all that it knows."""

    @property
    def asked(self) -> int:
        """Requests that were made."""
        return ASKED * sum(map(len, self.parts))

    def at_once(self, part: tuple[Name, ...] | None = None) -> int:
        """Answers during the split, by all replicas or those of one part."""
        answers = (a for a in self.answers.values() if a.at_ns < self.healed_ns)
        return sum(part is None or answer.at in part for answer in answers)

    @property
    def later(self) -> int:
        """Answers after it."""
        return len(self.answers) - self.at_once()

    @property
    def promised(self) -> list[Promise]:
        """Customers who were told that they have a seat."""
        return [answer for answer in self.answers.values() if answer.sold]

    @property
    def lost(self) -> int:
        """Of these, the ones that some replica does not know of in the end."""
        return sum(any(p.customer not in sales for sales in self.known.values()) for p in self.promised)

    @property
    def over(self) -> int:
        """Seats promised that are not there."""
        return max(0, len(self.promised) - SEATS)


def run(full: bool) -> Result:
    """See the module's text."""
    splits = (*SPLITS, (("A", "B", "C"), ("D", "E", "F")), (("D", "E", "F", "G"), ("A", "B", "C"))) if full else SPLITS
    primary = [sell_in_group(parts) for parts in splits]
    merged = {merge: [sell_at_once(parts, merge) for parts in splits] for merge in Merge}
    runs = [sale for sales in zip(primary, *merged.values(), strict=True) for sale in sales]
    return Result(
        tables=(sale_table(runs),),
        figures={"split-brain": price_figure(primary, merged)},
        claims=(*primary_claims(primary), *merge_claims(merged)),
    )


# --- execution ----------------------------------------------------------------------------------------------------


def _separate(world: World, parts: Parts, *, apart: bool) -> None:
    """Cut all links between the parts, or mend them."""
    change = world.network.block if apart else world.network.unblock
    for part in parts:
        for name in part:
            for other in (n for others in parts if others is not part for n in others):
                change(world.nodes[name], world.nodes[other])


def _names(parts: Parts) -> list[Name]:
    return sorted(name for part in parts for name in part)


def _split_and_heal(world: World, parts: Parts, ask: Callable[[Name, str], None]) -> int:
    """Ask each replica `ASKED` times while the network is split; when it was healed."""
    _separate(world, parts, apart=True)
    world.run_for(SETTLE_NS)
    for number in range(ASKED):
        for place, name in enumerate(_names(parts)):
            delay = (number * len(_names(parts)) + place) * 100 * MILLISECOND
            world.schedule(delay, ask, name, f"{name}{number}")
    world.run_for(SPLIT_NS)
    _separate(world, parts, apart=False)
    return world.now


class Booth:
    """The application at one member of the group: it sells what is delivered, in that order."""

    def __init__(self) -> None:
        self.group: GroupId | None = None
        self.sales: list[str] = []

    def take(self, delivery: Any) -> Iterable[Any]:
        """Requests to the machine: about state transfer, and what it has consumed."""
        match delivery:
            case Founded(group):
                self.group = group
            case SnapshotWanted(group, token):
                return (SnapshotTaken(group, token, _encode(self.sales)),)
            case Restored(group, data):
                self.group, self.sales = group, _decode(data)
            case Delivered(group, payloads=payloads):
                return (Consumed(group, sum(map(len, payloads))),)
            case _:
                pass
        return ()

    def sell(self, customer: str) -> bool:
        """The same at every member, since the order is."""
        if len(self.sales) >= SEATS:
            return False
        self.sales.append(customer)
        return True


def sell_in_group(parts: Parts) -> Sale:
    """With the product's process group: the members of a primary partition go on."""
    names = _names(parts)
    answers: dict[str, Promise] = {}

    def start(setup: Setup) -> Machine:
        world.nodes[setup.name].application = Booth()
        peers, seeds = tuple((n, n) for n in names), tuple(n for n in names if n != setup.name)
        config = Config(setup.name, setup.address, seeds, peers, (SPEC,), TIMING, LIMITS)
        return GroupMachine(config, setup.durable, setup.rng, setup.now)

    def deliver(node: Node, delivery: Any) -> Iterable[Any]:
        booth: Booth = node.application
        if isinstance(delivery, Excluded):
            world.restart(node.name)
        elif isinstance(delivery, Delivered):
            for customer in (bytes(payload).decode() for payload in delivery.payloads):
                sold = booth.sell(customer)
                if delivery.sender.name == node.name:
                    answers[customer] = Promise(customer, node.name, sold, world.now)
        return booth.take(delivery)

    def ask(name: Name, customer: str) -> None:
        booth: Booth = world.nodes[name].application
        assert booth.group is not None
        world.request(name, Multicast(booth.group, (customer.encode(),)))

    def together() -> bool:
        machines = [world.nodes[name].machine for name in names]
        views = [machine.view if isinstance(machine, GroupMachine) else None for machine in machines]
        view = views[0]
        if view is None or any(other != view for other in views) or view.id == 0:
            return False
        return all(set(group.hosts) == set(names) for group in view.groups) and len(view.members) == len(names)

    world = World(1, start, deliver=deliver, conditions=Conditions(stagger_ns=0))
    for name in names:
        world.add(name)
        world.run_for(MILLISECOND)
    assert world.run_while(lambda: not together(), PATIENCE_NS), "the group is not founded"
    healed = _split_and_heal(world, parts, ask)
    world.run_while(lambda: not together(), PATIENCE_NS)
    world.run_for(SETTLE_NS)
    assert not world.failures, world.failures
    known = {name: frozenset(world.nodes[name].application.sales) for name in names}
    return Sale(parts, "primary partition", answers, healed, known)


def sell_at_once(parts: Parts, merge: Merge) -> Sale:
    """With replicas that never wait."""
    names = _names(parts)
    answers: dict[str, Promise] = {}

    def start(setup: Setup) -> Machine:
        return Replica(setup.name, [n for n in names if n != setup.name], SEATS, merge)

    def deliver(node: Node, answer: Answer) -> None:
        answers[answer.customer] = Promise(answer.customer, node.name, answer.sold, world.now)

    def ask(name: Name, customer: str) -> None:
        world.request(name, Sell(customer))

    world = World(1, start, deliver=deliver, conditions=Conditions(stagger_ns=0))
    for name in names:
        world.add(name)
    world.run_for(SETTLE_NS)
    healed = _split_and_heal(world, parts, ask)
    world.run_for(SETTLE_NS)
    assert not world.failures, world.failures
    machines = {name: world.nodes[name].machine for name in names}
    known = {name: m.state.sales for name, m in machines.items() if isinstance(m, Replica)}
    return Sale(parts, f"merged: {merge.value}", answers, healed, known)


# --- tables, figures, claims --------------------------------------------------------------------------------------


def _text(parts: Parts) -> str:
    return " | ".join("".join(part) for part in parts)


def sale_table(runs: list[Sale]) -> Table:
    """One row for each split and way."""
    columns = ("split", "replication", "asked", "answered", "after it healed", "never", "sold", "too many", "forgotten")
    rows = tuple(
        (
            _text(sale.parts),
            sale.how,
            sale.asked,
            sale.at_once(),
            sale.later,
            sale.asked - len(sale.answers),
            len(sale.promised),
            sale.over,
            sale.lost,
        )
        for sale in runs
    )
    return Table(f"{SEATS} seats, {ASKED} requests at each replica while the network is split", columns, rows)


def price_figure(primary: list[Sale], merged: dict[Merge, list[Sale]]) -> Bars:
    """What each way costs."""
    names = ("primary partition: not answered meanwhile", "union: sold too many", "later write: sales forgotten")
    groups = tuple(
        (_text(first.parts), (float(first.asked - first.at_once()), float(union.over), float(later.lost)))
        for first, union, later in zip(primary, merged[Merge.UNION], merged[Merge.LATER], strict=True)
    )
    return Bars("The price of a split, in requests", "requests", names, groups)


def _may_go_on(parts: Parts) -> list[bool]:
    """Of each part, whether it has a quorum: the rule as the paper has it."""
    names = _names(parts)
    return [2 * len(p) > len(names) or (2 * len(p) == len(names) and names[0] in p) for p in parts]


def primary_claims(sales: list[Sale]) -> Iterator[Claim]:
    """Consistent, not available."""
    yield equal(
        "primary partition: the part with a quorum answers, whichever it is, and no other",
        QUORUM,
        [[ASKED * len(part) * goes for part, goes in zip(s.parts, _may_go_on(s.parts), strict=True)] for s in sales],
        [[sale.at_once(part) for part in sale.parts] for sale in sales],
    )
    for text, expected, found in (
        ("primary partition: all that was promised is known everywhere", 0, [sale.lost for sale in sales]),
        ("primary partition: no more is sold than there is", 0, [sale.over for sale in sales]),
        ("primary partition: all replicas end with the same", 1, [len({*sale.known.values()}) for sale in sales]),
    ):
        yield equal(text, PIPER, [expected] * len(sales), found)
    rest = [(sale, sale.asked - sale.at_once()) for sale in sales]
    yield equal(
        "a request to the rest is answered once it has healed if nobody went on, else never",
        "docs/protocols/view-change.md",
        [(0, count) if any(_may_go_on(sale.parts)) else (count, 0) for sale, count in rest],
        [(sale.later, sale.asked - len(sale.answers)) for sale in sales],
    )


def _sold_by(sale: Sale) -> list[int]:
    """By each part."""
    return [sum(promise.at in part for promise in sale.promised) for part in sale.parts]


def merge_claims(merged: dict[Merge, list[Sale]]) -> Iterator[Claim]:
    """Available, not consistent."""
    runs = [sale for sales in merged.values() for sale in sales]
    yield equal(
        "merging: every request is answered at once", PIPER, [s.asked for s in runs], [s.at_once() for s in runs]
    )
    yield equal(
        "merging: each part sells all that it believes to have",
        "arithmetic",
        [[min(SEATS, ASKED * len(part)) for part in sale.parts] for sale in runs],
        [_sold_by(sale) for sale in runs],
    )
    union, later = merged[Merge.UNION], merged[Merge.LATER]
    yield equal("the union forgets nothing", PIPER, [0] * len(union), [sale.lost for sale in union])
    yield equal(
        "and holds more than there is",
        "arithmetic",
        [sum(min(SEATS, ASKED * len(part)) for part in sale.parts) - SEATS for sale in union],
        [max(map(len, sale.known.values())) - SEATS for sale in union],
    )
    last = [max(sale.promised, key=lambda promise: promise.at_ns).at for sale in later]
    yield equal(
        "the later write forgets all that the other parts sold",
        "Parker et al. 1983",
        [
            sum(n for part, n in zip(s.parts, _sold_by(s), strict=True) if name not in part)
            for s, name in zip(later, last, strict=True)
        ],
        [sale.lost for sale in later],
    )
