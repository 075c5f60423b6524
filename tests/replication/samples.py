"""Classes that the tests replicate, and entries for them."""

import random
from typing import Any

from phalanx.model.clock import MILLISECOND, stamp_of
from phalanx.model.events import Delivered
from phalanx.model.replicated import OUTSIDE, Context, command, query
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.replication import entries
from phalanx.replication.actions import Action, Answered, Refusal, Say, SessionOpened
from phalanx.replication.objects import Invocation, describe
from phalanx.replication.replica import Replica
from phalanx.replication.session import LIMITS, Limits

A, B, C, D = (Member(name, f"{name}:1", 1) for name in "abcd")


class InsufficientFunds(Exception):
    """Declared by the account below."""


OOPS = "oops"


class Undeclared(Exception):
    """Not declared."""


class Account:
    """Half-changes its state before it raises, on purpose."""

    balance: int = 0
    log: list[str]

    def __init__(self) -> None:
        self.log = []

    @command
    def add(self, amount: int) -> int:
        self.balance += amount
        self.log.append(f"+{amount}")
        return self.balance

    @command(raises=(InsufficientFunds,))
    def take(self, amount: int) -> int:
        self.balance -= amount
        self.log.append(f"-{amount}")
        if self.balance < 0:
            raise InsufficientFunds("short by", -self.balance)
        return self.balance

    @command
    def fail(self) -> None:
        self.log.clear()
        raise Undeclared(OOPS)

    @command
    def stamp(self, *, context: Context = OUTSIDE) -> tuple[int, int]:
        return context.time_ms, context.token

    @query
    def read(self) -> int:
        return self.balance


class Dice:
    """Not deterministic (SCENARIOS 35)."""

    rolls: list[float]

    def __init__(self) -> None:
        self.rolls = []

    @command
    def roll(self) -> None:
        self.rolls.append(random.random() if self.loaded else 0.5)

    loaded: bool = False


ACCOUNT = describe(Account)
DICE = describe(Dice)


def group(*hosts: str, name: str = "bank", contract: str = "") -> Group:
    return Group(7, GroupSpec(name, contract=contract), hosts)


def view(*hosts: str, number: int = 1) -> View:
    return View(1, number, (A, B, C, D), groups=(group(*hosts),))


def account(me: Member = A, limits: Limits = LIMITS, hosts: str = "abc", interval: int = 1_024) -> Replica[Account]:
    return Replica(ACCOUNT, group(*hosts), me, limits, interval)


def run(session: int, number: int, low: int, invocation: Invocation[object], ticket: int = 0) -> bytes:
    operation = invocation.operation
    return entries.encode(
        entries.Run(ticket, session, number, low, operation.id, operation.types, invocation.arguments)
    )


def delivered(ms: int, *payloads: bytes, sender: Member = A, number: int = 1) -> Delivered:
    return Delivered(7, number, sender, stamp_of(ms * MILLISECOND), list(payloads))


def results(actions: list[Action]) -> list[object]:
    return [action.result for action in actions if isinstance(action, Answered)]


def said(actions: list[Action]) -> list[bytes]:
    return [action.payload for action in actions if isinstance(action, Say)]


def opened(replica: Replica[Account], ms: int = 1_000) -> int:
    (result,) = results(replica.deliver(delivered(ms, entries.encode(entries.Open(0)))))
    assert isinstance(result, SessionOpened)
    return result.session


def reasons(actions: list[Action]) -> list[str]:
    return [str(result.reason.value) for result in results(actions) if isinstance(result, Refusal)]


def saved(replica: Replica[Any], size: int = 64) -> list[bytes]:
    """Its state, in slices."""
    return [data for data in replica.slices(size) if data is not None]


def restore(replica: Replica[Any], slices: list[bytes]) -> None:
    """It takes that state."""
    restoration = replica.restoration()
    for data in slices:
        restoration.take(data)
    replica.restore(restoration)
