"""An account in three versions, and replicas that are given what is ordered in their group."""

from collections.abc import Sequence
from typing import Any

import msgspec

from phalanx.model.events import Delivered
from phalanx.model.replicated import command, query, version
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.replication import entries
from phalanx.replication.actions import Action, Say, SessionOpened, Upgraded, UpgradeVoid
from phalanx.replication.objects import ObjectType, describe
from phalanx.replication.outcome import Returned
from phalanx.replication.replica import Replica
from tests.replication.samples import A, B, C, delivered, results, run, saved


class AccountV1:
    units: int = 0
    log: list[str]

    def __init__(self) -> None:
        self.log = []

    @command
    def add(self, amount: int) -> int:
        self.units += amount
        self.log.append(f"+{amount}")
        return self.units

    @command
    def reset(self) -> None:
        self.units = 0

    @query
    def read(self) -> int:
        return self.units


@version(2, replaces=AccountV1)
class AccountV2:
    cents: int = 0
    log: list[str]

    def __init__(self) -> None:
        self.log = []

    def upgrade(self, former: AccountV1) -> None:
        self.cents = former.units * 100
        former.log.append("upgraded")
        self.log = former.log
        if "+13" in former.log:
            raise ValueError("bad luck")

    @command
    def add(self, amount: int) -> int:
        self.cents += amount * 100
        return self.cents // 100

    @command
    def add_cents(self, amount: int) -> int:
        self.cents += amount
        return self.cents

    @query
    def read(self) -> int:
        return self.cents // 100


@version(3, replaces=AccountV2)
class AccountV3(AccountV2):
    """One more operation, and one more attribute."""

    owner: str = "nobody"

    @command
    def give(self, owner: str) -> None:
        self.owner = owner


V1, V2, V3 = describe(AccountV1), describe(AccountV2), describe(AccountV3)


def group_of(kind: ObjectType[Any], hosts: str = "abc", learners: str = "") -> Group:
    return Group(7, GroupSpec("account", contract=kind.contract), tuple(hosts), tuple(learners))


def replica_of(kind: ObjectType[Any], me: Member = A, founded: ObjectType[Any] = V1) -> Replica[Any]:
    return Replica(kind, group_of(founded), me, view=1)


def view(number: int, hosts: str = "abc", learners: str = "") -> View:
    return View(1, number, (A, B, C), groups=(group_of(V1, hosts, learners),))


def upgrade(to: ObjectType[Any], since: int = 1, number: int = 1, hosts: str = "abc") -> bytes:
    return entries.encode(entries.Upgrade(number, since, to.version, to.contract, tuple(hosts)))


class Line:
    """Replicas of one group, and all that was ordered in it."""

    def __init__(self, *replicas: Replica[Any]) -> None:
        self.replicas = replicas
        self.ordered: list[Delivered] = []
        self.told: dict[str, list[Action]] = {replica._me.name: [] for replica in replicas}
        self.said: list[tuple[Member, bytes]] = []
        self._ms = 1_000

    def order(self, *payloads: bytes, sender: Member = A, number: int = 1) -> None:
        """What replicas say of it is kept, and not ordered yet."""
        self._ms += 1
        run = msgspec.structs.replace(delivered(self._ms, *payloads, sender=sender), view=number)
        self.ordered.append(run)
        for replica in self.replicas:
            self.keep(replica, replica.deliver(run))

    def keep(self, replica: Replica[Any], actions: Sequence[Action]) -> None:
        me = replica._me
        self.told[me.name] += actions
        self.said += [(me, action.payload) for action in actions if isinstance(action, Say)]

    def settle(self, number: int = 1) -> None:
        """What they said is ordered."""
        while self.said:
            sender, payload = self.said.pop(0)
            self.order(payload, sender=sender, number=number)

    def install(self, new: View) -> None:
        for replica in self.replicas:
            self.keep(replica, replica.install(new))

    def ends(self) -> set[str]:
        """How upgrades ended, by what the replicas told."""
        found = [[a for a in told if isinstance(a, Upgraded | UpgradeVoid)] for told in self.told.values()]
        assert all(each == found[0] for each in found)
        return {repr(each) for each in found[0]}


def line(kind: ObjectType[Any] = V2) -> tuple[Line, int]:
    """Three replicas with code for that class, and a session."""
    found = Line(*(replica_of(kind, me) for me in (A, B, C)))
    found.order(entries.encode(entries.Open(0)))
    (opened,) = results(found.told["a"])
    assert isinstance(opened, SessionOpened)
    return found, opened.session


def states(replicas: Sequence[Replica[Any]]) -> set[bytes]:
    return {b"".join(saved(replica, 1 << 16)) for replica in replicas}


def add(session: int, number: int, amount: int, ticket: int = 0) -> bytes:
    return run(session, number, 1, V1.invoke(AccountV1.add, amount), ticket)


def read(replica: Replica[Any]) -> int:
    operation = V1.operation(AccountV1.read)
    outcome = replica.query(operation.id, operation.types, V1.invoke(AccountV1.read).arguments)
    assert isinstance(outcome, Returned)
    value: int = operation.result(outcome)
    return value
