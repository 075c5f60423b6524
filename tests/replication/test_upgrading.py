"""Another version of a class, at one place in the order: at all replicas or none, and alike when a log is read again."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from phalanx.errors import ConfigurationError
from phalanx.model.events import Delivered
from phalanx.model.replicated import command, query, version, version_of
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.replication import entries
from phalanx.replication.actions import Action, Answered, CanRun, Refusal, Say, SessionOpened, Upgraded, UpgradeVoid
from phalanx.replication.objects import Invocation, ObjectType, describe
from phalanx.replication.outcome import Returned
from phalanx.replication.replica import Replica
from phalanx.replication.rollout import AGAIN_NS, QUIET_NS, RETRY_NS, Rollout
from phalanx.replication.saving import version_in
from phalanx.replication.versions import CannotRun, fault_in
from tests.replication.samples import A, B, C, delivered, results, run


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
    return {b"".join(replica.slices(1 << 16)) for replica in replicas}


def add(session: int, number: int, amount: int, ticket: int = 0) -> bytes:
    return run(session, number, 1, V1.invoke(AccountV1.add, amount), ticket)


def read(replica: Replica[Any]) -> int:
    operation = V1.operation(AccountV1.read)
    outcome = replica.query(operation.id, operation.types, V1.invoke(AccountV1.read).arguments)
    assert isinstance(outcome, Returned)
    value: int = operation.result(outcome)
    return value


# --- what a class says --------------------------------------------------------------------------------------------


def test_a_class_brings_its_former_versions_and_each_has_a_contract_of_its_own() -> None:
    assert V3.versions.keys() == {1, 2, 3}
    assert V3.versions[1].contract == V1.contract, "whatever the class is called"
    assert len({kind.contract for kind in V3.versions.values()}) == 3
    assert V3.operations["give@1"].version == 3 == V3.operations["add@1"].version
    assert describe(AccountV1).version == 1


def bad_number() -> Any:
    return version(0)


def bad_step() -> Any:
    return version(3, replaces=AccountV1)


def without_a_word() -> Any:
    @version(2, replaces=AccountV1)
    class Renamed:
        value: int = 0

        @query
        def read(self) -> int:
            return self.value

    return describe(Renamed)


def of_another_type() -> Any:
    @version(2, replaces=AccountV1)
    class Wider:
        units: str = ""
        log: list[str]

        def __init__(self) -> None:
            self.log = []

        @query
        def read(self) -> str:
            return self.units

    return describe(Wider)


def of_another_class() -> Any:
    @version(2, replaces=AccountV1)
    class Wrong(AccountV1):
        def upgrade(self, former: AccountV2) -> None:
            del former

    return describe(Wrong)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (bad_number, "the number must be at least 1, not 0"),
        (bad_step, "version 3 replaces version 2, not 1"),
        (without_a_word, r"its attribute 'units' is gone: say by upgrade\(self, former: AccountV1\)"),
        (of_another_type, "its attribute 'units' is of another type"),
        (
            of_another_class,
            r"Wrong.upgrade must be a plain method upgrade\(self, former: AccountV1\) -> None",
        ),
    ],
)
def test_what_cannot_follow_each_other_is_refused_when_the_class_is_described(make: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        make()


class Hooked:
    def __init__(self) -> None:
        self.value = 0

    @command
    def add(self) -> int:
        self.value += 1
        return self.value

    def snapshot(self) -> bytes:
        return b"%d" % self.value

    def restore(self, data: bytes) -> None:
        self.value = int(data)


@version(2, replaces=Hooked)
class HookedToo(Hooked):
    @query
    def read(self) -> int:
        return self.value


def test_a_subclass_takes_over_a_state_that_is_saved_by_hooks() -> None:
    former = Hooked()
    former.add()
    assert describe(HookedToo).converted(former, 1).read() == 1


def test_several_steps_follow_each_other_and_leave_the_former_state_as_it_was() -> None:
    former = AccountV1()
    former.add(5)
    new = V3.converted(former, 1)
    assert (type(new), new.cents, new.log, new.owner) == (AccountV3, 500, ["+5", "upgraded"], "nobody")
    assert former.log == ["+5"]


# --- going over ---------------------------------------------------------------------------------------------------


def test_all_replicas_go_over_at_one_place_and_what_came_meanwhile_follows() -> None:
    group, session = line()
    group.order(add(session, 1, 5))
    group.order(upgrade(V2), add(session, 2, 1, ticket=2))
    group.order(add(session, 3, 1))
    assert {replica.kind.version for replica in group.replicas} == {1}
    assert {read(replica) for replica in group.replicas} == {5}, "queries are answered meanwhile"
    group.settle()
    assert {replica.kind.version for replica in group.replicas} == {2}
    assert [replica.object.cents for replica in group.replicas] == [700] * 3
    assert group.ends() == {repr(Upgraded(1, 2, replayed=False))}
    assert len(states(group.replicas)) == 1
    assert [a.result for a in group.told["a"] if isinstance(a, Answered)][-2:] == [Returned(b"\x06"), Returned(b"\x07")]


def test_a_command_that_was_answered_before_is_not_run_again_after() -> None:
    group, session = line()
    group.order(add(session, 1, 5))
    group.order(upgrade(V2))
    group.settle()
    group.order(add(session, 1, 5, ticket=9))
    assert group.told["a"][-1] == Answered(9, Returned(b"\x05"))
    assert {replica.object.cents for replica in group.replicas} == {500}


def test_operations_that_are_gone_or_not_there_yet_are_refused_with_the_version() -> None:
    group, session = line()
    cents = run(session, 1, 1, V2.invoke(AccountV2.add_cents, 1))
    group.order(cents)
    assert isinstance(early := results(group.told["a"])[-1], Refusal)
    assert (early.version, "AccountV1 (version 1) has no command add_cents@1" in early.text) == (1, True)
    group.order(upgrade(V2))
    group.settle()
    group.order(cents)
    assert results(group.told["a"])[-1] == Returned(b"\x01")
    reset: Invocation[None] = V1.invoke(AccountV1.reset)
    group.order(run(session, 2, 1, reset))
    assert isinstance(late := results(group.told["a"])[-1], Refusal)
    assert (late.version, "AccountV2 (version 2) has no command reset@1" in late.text) == (2, True)


def test_a_conversion_that_raises_anywhere_changes_nothing_at_all() -> None:
    group, session = line()
    group.order(add(session, 1, 13))
    group.order(upgrade(V2))
    group.order(add(session, 2, 1))
    group.settle()
    assert {replica.kind.version for replica in group.replicas} == {1}
    assert {tuple(replica.object.log) for replica in group.replicas} == {("+13", "+1")}
    fault = "the conversion fails at a: ValueError: bad luck"
    assert group.ends() == {repr(UpgradeVoid(2, fault, replayed=False))}


def test_replicas_that_come_to_different_states_stay_with_the_former_one() -> None:
    group, session = line()
    group.order(add(session, 1, 5))
    group.order(upgrade(V2))
    position = group.replicas[0].position
    group.order(entries.encode(entries.Converted(position, b"one")), sender=A)
    group.order(entries.encode(entries.Converted(position, b"another")), sender=B)
    text = "the conversion is not deterministic: a and b come to different states"
    assert group.ends() == {repr(UpgradeVoid(2, text, replayed=False))}
    assert {read(replica) for replica in group.replicas} == {5}
    assert {replica.kind.version for replica in group.replicas} == {1}


@pytest.mark.parametrize("by_installing", [True, False], ids=["installed", "read again from a log"])
def test_an_upgrade_ends_with_its_view(by_installing: bool) -> None:
    group, session = line()
    group.order(add(session, 1, 5), upgrade(V2), add(session, 2, 1))
    if by_installing:
        group.install(view(2))
    group.order(add(session, 3, 1), number=2)
    group.settle(number=2)  # what the hosts came to is ordered too late
    assert {replica.kind.version for replica in group.replicas} == {1}
    assert {read(replica) for replica in group.replicas} == {7}
    assert group.ends() == {repr(UpgradeVoid(2, "", replayed=False))}


def test_an_upgrade_that_is_ordered_in_a_later_view_than_it_was_meant_for_is_void() -> None:
    """A host with former code may have come back in that."""
    group, _ = line()
    group.order(upgrade(V2, number=1), number=2)
    assert not any(replica.is_upgrading for replica in group.replicas)
    group.order(upgrade(V2, since=2, number=2), upgrade(V1, since=1, number=2), number=2)
    assert not any(replica.is_upgrading for replica in group.replicas), "from another version, and to the same one"


# --- read again from a log, or from a snapshot --------------------------------------------------------------------


def upgraded() -> Line:
    group, session = line()
    group.order(add(session, 1, 5))
    group.order(upgrade(V2), add(session, 2, 1))
    group.order(add(session, 3, 1))
    group.settle()
    group.order(add(session, 4, 1))
    return group


def again(kind: ObjectType[Any], runs: Sequence[Delivered]) -> Replica[Any]:
    """A replica that is restarted, and reads what was ordered, in a later view."""
    found = Replica(kind, group_of(V1), A, view=9)
    for each in runs:
        assert not [action for action in found.deliver(each) if isinstance(action, Say)], "it is no host of that view"
    return found


def test_a_log_from_before_and_after_leads_to_the_same_state() -> None:
    group = upgraded()
    found = again(V3, group.ordered)
    assert found.kind.version == 2
    assert states([found]) == states(group.replicas)


def test_a_snapshot_at_any_time_says_what_it_is_of_and_leads_to_the_same_state() -> None:
    """Also one that is taken while an upgrade is under way, with what is held."""
    group = upgraded()
    for place in range(len(group.ordered) + 1):
        first = again(V2, group.ordered[:place])
        slices = list(first.slices(64))
        assert version_in(slices[0]) == first.kind.version
        second = Replica(V2, group_of(V1), B, view=9)
        restoration = second.restoration()
        for data in slices:
            restoration.take(data)
        second.restore(restoration)
        for each in group.ordered[place:]:
            second.deliver(each)
        assert states([second]) == states(group.replicas)


def test_former_code_does_not_go_on_where_the_group_went_over() -> None:
    group = upgraded()
    with pytest.raises(CannotRun, match="it is at version 2 of the class, and this code has AccountV1 up to version 1"):
        again(V1, group.ordered)
    slices = list(group.replicas[0].slices(64))
    with pytest.raises(CannotRun, match="start this node with the newer code"):
        Replica(V1, group_of(V1), C).restoration().take(slices[0])


def test_former_code_reads_an_upgrade_of_which_nothing_came() -> None:
    group, session = line()
    group.order(add(session, 1, 13))
    group.order(upgrade(V2), add(session, 2, 1))
    group.settle()
    assert states([again(V1, group.ordered)]) == states(group.replicas)


def test_a_class_that_was_changed_under_its_number_is_refused() -> None:
    @version(2, replaces=AccountV1)
    class Other(AccountV1):
        @query
        def size(self) -> int:
            return len(self.log)

    group = upgraded()
    with pytest.raises(CannotRun, match="version 2 of Other there is another than here"):
        again(describe(Other), group.ordered)
    assert version_of(type("Later", (AccountV3,), {})).number == 1, "a mark is not inherited"
    assert "from version 2 on" in str(fault_in(describe(only_second()), 1, V1.contract))


def only_second() -> type[Any]:
    @version(2)
    class Second(AccountV1):
        pass

    return Second


def test_a_conversion_that_was_changed_afterwards_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a node that restarts from its log would hold another state than the others."""
    group = upgraded()

    def otherwise(new: AccountV2, former: AccountV1) -> None:
        new.cents = former.units * 1_000

    del otherwise.__annotations__["new"]  # a method's has none
    monkeypatch.setattr(AccountV2, "upgrade", otherwise)
    with pytest.raises(CannotRun, match="comes to another state with this code than it did"):
        again(describe(AccountV2), group.ordered)


# --- when ---------------------------------------------------------------------------------------------------------


class Hosts:
    """What each of three hosts knows of the others, each with its own code."""

    def __init__(self, *kinds: ObjectType[Any]) -> None:
        members = (A, B, C)[: len(kinds)]
        self.line = Line(*(replica_of(kind, me) for kind, me in zip(kinds, members, strict=True)))
        self.rollouts = [Rollout(0) for _ in kinds]

    def pairs(self) -> Iterator[tuple[Replica[Any], Rollout]]:
        return zip(self.line.replicas, self.rollouts, strict=True)

    def say(self) -> None:
        for replica, rollout in self.pairs():
            said = rollout.to_say(replica, replica._me.name)
            if said is not None:
                self.line.order(said, sender=replica._me)
        for replica, rollout in self.pairs():
            for action in self.line.told[replica._me.name]:
                if isinstance(action, CanRun):
                    rollout.heard(action.host, action.versions)

    def ordered(self, now: int) -> list[bytes]:
        found = [rollout.order(replica, replica._me.name, now) for replica, rollout in self.pairs()]
        return [payload for payload in found if payload is not None]


def test_the_eldest_orders_an_upgrade_to_the_last_version_that_all_have_once_the_view_is_quiet() -> None:
    hosts = Hosts(V3, V2, V3)
    hosts.say()
    assert hosts.ordered(QUIET_NS - 1) == []
    (payload,) = hosts.ordered(QUIET_NS)
    assert payload == upgrade(V2)
    assert hosts.ordered(QUIET_NS + 1) == [], "it is under way"
    assert len(hosts.ordered(QUIET_NS + AGAIN_NS)) == 1, "or was lost on one that was behind"


def test_nothing_is_ordered_while_a_host_or_a_learner_cannot_be_asked() -> None:
    hosts = Hosts(V3, V1, V3)
    hosts.say()
    assert hosts.ordered(1 << 60) == []
    replica, rollout = next(hosts.pairs())
    assert rollout.versions(replica) == {"a": 3, "b": 1, "c": 3}
    assert rollout.why_not(replica) == "account is to go from version 1 to 3 once b can run that"
    alone = Hosts(V3, V3, V3)
    alone.say()
    for replica, rollout in alone.pairs():
        replica.group = group_of(V1, "abc", "d")
        assert rollout.due(replica, "a") is None
        assert "once d can be asked" in rollout.why_not(replica)


def test_two_classes_of_one_number_are_not_upgraded_to() -> None:
    @version(2, replaces=AccountV1)
    class Other(AccountV1):
        pass

    hosts = Hosts(V2, describe(Other), V2)
    hosts.say()
    assert hosts.ordered(1 << 60) == []
    replica, rollout = next(hosts.pairs())
    assert "its hosts have different classes as that version" in rollout.why_not(replica)


def test_a_host_that_has_one_version_says_nothing_and_each_view_asks_anew() -> None:
    hosts = Hosts(V1, V2)
    replica, rollout = next(hosts.pairs())
    assert rollout.to_say(replica, "a") is None, "objects of one version cost nothing"
    replica, rollout = list(hosts.pairs())[1]
    assert rollout.to_say(replica, "b") is not None
    assert rollout.to_say(replica, "b") is None
    rollout.begin(5)
    assert rollout.to_say(replica, "b") is not None


def test_a_conversion_that_failed_is_tried_again_later() -> None:
    hosts = Hosts(V2, V2, V2)
    hosts.say()
    replica, rollout = next(hosts.pairs())
    rollout.failed("the conversion fails at b: KeyError: 'x'", QUIET_NS)
    assert hosts.ordered(QUIET_NS + RETRY_NS - 1) == []
    assert "but the conversion fails at b" in rollout.why_not(replica)
    assert len(hosts.ordered(QUIET_NS + RETRY_NS)) == 1
