"""One call, with each remedy against lost messages and crashes, while its transmissions meet their fates.

The world is the simulator's; what is lost, and when the server crashes, is up to the caller.
"""

import enum
from collections.abc import Iterator
from typing import Any, NamedTuple

from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.textbook.calls import Account, AccountServer, CallClient, Ended, Memory
from phalanx.lab.textbook.calls import Reply as AccountReply
from phalanx.lab.textbook.calls import Request as AccountRequest
from phalanx.lab.textbook.interposed import Interposed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine
from phalanx.model.replicated import command
from phalanx.model.view import GroupId, GroupSpec, Name
from phalanx.node.node import Node as Machinery
from phalanx.replication.calls import Call, Completed, End
from phalanx.replication.client import ClientMachine
from phalanx.replication.messages import Command, Reply
from phalanx.replication.objects import describe
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

AMOUNT = 10
"""What the one request is about."""

SETTLE_NS = 5 * MILLISECOND
"""A server that crashes after executing does so this much later: its disk has it by then, and no retry has come."""

DOWN_NS = 20 * MILLISECOND
"""How long it stays down."""

PATIENCE_NS = 60 * SECOND
"""Longer than any call takes."""


class Fate(enum.StrEnum):
    """What becomes of one transmission of the request that is on its way to a server."""

    ARRIVES = "arrives"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"


Fates = tuple[Fate, ...]
"""Of the first transmissions, in order; later ones arrive."""


class Outcome(NamedTuple):
    """How often the request was executed, the balance at the end, and what the client was told."""

    executed: int
    balance: int
    told: End | None
    """None: nothing, in all that time."""
    lost: bool = False
    """All nodes had crashed before one of them was back: what is there in the end is another group, and empty."""

    @property
    def effects(self) -> float:
        """How often the request has taken effect, as the balance shows it."""
        return self.balance / AMOUNT


class Remedy(NamedTuple):
    """How client and server deal with it."""

    name: str
    transmissions: int
    sets: bool
    memory: Memory | None
    """None: the product's sessions."""


MANY = 10
"""Transmissions of a client that does not give up: more than there are fates."""

REMEDIES = (
    Remedy("send once", 1, False, Memory.NONE),
    Remedy("send until replied", MANY, False, Memory.NONE),
    Remedy("... and idempotent", MANY, True, Memory.NONE),
    Remedy("numbers, in memory", MANY, False, Memory.VOLATILE),
    Remedy("numbers, on disk", MANY, False, Memory.DURABLE),
    Remedy("sessions, replicated", MANY, False, None),
)


class Ledger:
    """The replicated account."""

    balance: int
    executed: int

    def __init__(self) -> None:
        self.balance = 0
        self.executed = 0

    @command(atomic=True)
    def add(self, amount: int) -> int:
        """Change the balance."""
        self.balance += amount
        self.executed += 1
        return self.balance


LEDGER = describe(Ledger)


class _Strikes:
    """Has the transmissions meet their fates, at whichever server they arrive."""

    def __init__(self, fates: Fates) -> None:
        self._fates: Iterator[Fate] = iter(fates)
        self._pending: dict[Name, Fate] = {}

    def wrap(self, world: World, name: Name, machine: Machine, request: type[Any], reply: type[Any]) -> Interposed:
        """The machine of a server, for messages of these types."""

        def receives(message: Any) -> bool:
            if not isinstance(message, request):
                return True
            fate = next(self._fates, Fate.ARRIVES)
            if fate is Fate.CRASH_BEFORE:
                world.restart(name, DOWN_NS)
            elif fate in (Fate.REPLY_LOST, Fate.CRASH_AFTER):
                self._pending[name] = fate
            return fate not in (Fate.REQUEST_LOST, Fate.CRASH_BEFORE)

        def sends(message: Any) -> bool:
            fate = self._pending.pop(name, None) if isinstance(message, reply) else None
            if fate is Fate.CRASH_AFTER:
                world.schedule(SETTLE_NS, world.restart, name, DOWN_NS)
            return fate is None

        return Interposed(machine, receives, sends)


def call(remedy: Remedy, fates: Fates | None) -> Outcome:
    """Make one call.  `fates`: None if there is no server."""
    if remedy.memory is None:
        return _session_call(fates)
    return _account_call(remedy, remedy.memory, fates)


def _account_call(remedy: Remedy, memory: Memory, fates: Fates | None) -> Outcome:
    strikes = _Strikes(fates or ())
    told: list[End] = []

    def start(setup: Setup) -> Machine:
        if setup.name == "client":
            return CallClient("server", AccountRequest(1, AMOUNT, remedy.sets), remedy.transmissions)
        server = AccountServer(setup.durable, memory)
        return strikes.wrap(world, setup.name, server, AccountRequest, AccountReply)

    def deliver(_: Node, delivery: Ended) -> None:
        told.append(delivery.end)

    world = World(1, start, deliver=deliver)
    world.add("server", start=fates is not None)
    world.run_for(SECOND)  # the server is there, or will never be
    world.add("client")
    world.run_while(lambda: not told, PATIENCE_NS)
    world.run_for(SECOND)  # whatever is still under way
    assert not world.failures, world.failures
    account = world.nodes["server"].durable or Account()
    return Outcome(account.executed, account.balance, told[0] if told else None)


def _session_call(fates: Fates | None) -> Outcome:
    """The product's own: three nodes, a client machine."""
    names = ("a", "b", "c")
    strikes = _Strikes(fates or ())
    told: list[End] = []

    def start(setup: Setup) -> Machine:
        if setup.name == "~client":
            return ClientMachine(names, setup.rng)
        config = Config(setup.name, setup.address, (), tuple((n, n) for n in names), (), TIMING, LIMITS)
        node = Machinery(config, setup.durable, setup.rng, setup.now, {"ledger": (LEDGER, GroupSpec("ledger"))})
        return strikes.wrap(world, setup.name, node, Command, Reply)

    def deliver(_: Node, delivery: Any) -> None:
        if isinstance(delivery, Completed):
            told.append(delivery.end)

    def full() -> int:
        views = [m.group.view for m in _machineries(world) if m.group.view is not None]
        groups = [view.group_named("ledger") for view in views]
        return sum(group is not None and len(group.hosts) == len(names) for group in groups)

    world = World(1, start, deliver=deliver)
    for name in names:
        world.add(name, start=fates is not None)
    client = world.add("~client")
    if fates is not None:
        assert world.run_while(lambda: full() < len(names), PATIENCE_NS), "the three nodes form a group"
    else:
        world.run_for(SECOND)
    founded = _groups(world)
    operation = LEDGER.operations["add@1"]
    deadline = client.clocks.mono(world.now) + PATIENCE_NS // 2
    arguments = operation.encode((AMOUNT,), {})
    world.request("~client", Call(1, "ledger", operation.id, operation.types, arguments, deadline))
    world.run_while(lambda: not told, PATIENCE_NS)
    if fates is not None:
        assert world.run_while(lambda: full() < len(names), PATIENCE_NS), "whoever crashed is back"
        world.run_for(SECOND)
    assert not world.failures, world.failures
    replicas = [replica for m in _machineries(world) if (replica := m.gateway.replica("ledger")) is not None]
    states = {(replica.object.executed, replica.object.balance) for replica in replicas} or {(0, 0)}
    ((executed, balance),) = states
    return Outcome(executed, balance, told[0] if told else None, _groups(world) != founded)


def _groups(world: World) -> set[GroupId]:
    views = [m.group.view for m in _machineries(world) if m.group.view is not None]
    return {group.id for view in views if (group := view.group_named("ledger")) is not None}


def _machineries(world: World) -> list[Machinery]:
    inner = [node.machine.machine for node in world.nodes.values() if isinstance(node.machine, Interposed)]
    return [machine for machine in inner if isinstance(machine, Machinery)]
