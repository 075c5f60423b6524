"""Another version of a class, at one place in the order: at all replicas or none, and alike when a log is read again."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from phalanx.model.events import Delivered, Founded, Installed, Shorten
from phalanx.model.machine import Output
from phalanx.model.replicated import query, version, version_of
from phalanx.replication import entries
from phalanx.replication.actions import Answered, Refusal, Say, Upgraded, UpgradeVoid
from phalanx.replication.gateway import Gateway
from phalanx.replication.objects import Invocation, ObjectType, describe
from phalanx.replication.outcome import Returned
from phalanx.replication.replica import Replica
from phalanx.replication.saving import version_in
from phalanx.replication.slicing import TAKE_GAP_NS
from phalanx.replication.standing import Standing
from phalanx.replication.versions import CannotRun, fault_in
from tests.replication.samples import A, B, C, results, run, saved
from tests.replication.versions import (
    V1,
    V2,
    V3,
    AccountV1,
    AccountV2,
    AccountV3,
    Line,
    add,
    group_of,
    line,
    read,
    states,
    upgrade,
    view,
)

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


def test_an_upgrade_that_was_under_way_when_an_operator_went_on_is_void() -> None:
    """What it held was ordered before that, so it is applied, with tokens of before; no session of then goes on."""
    group, session = line()
    group.order(upgrade(V2), add(session, 1, 5))
    (replica, *_) = group.replicas
    fence = replica.stamp + (1 << 60)
    actions = replica.rescued(fence)
    assert isinstance(actions[0], UpgradeVoid)
    assert not replica.is_upgrading and replica.kind.version == 1
    assert read(replica) == 5
    group.order(add(session, 2, 5, ticket=3))
    answers = [action.result for action in group.told["a"] if isinstance(action, Answered)]
    assert isinstance(answers[-1], Refusal)
    assert replica._token > fence


@pytest.mark.parametrize("rescued", [False, True])
def test_an_upgrade_that_another_one_held_is_void_with_it(rescued: bool) -> None:
    """A node that was behind ordered it twice.  What both held comes before whatever begins then."""
    group, session = line()
    group.order(upgrade(V2), upgrade(V2), add(session, 1, 5))
    for replica in group.replicas:
        replica.rescued(1 << 60) if rescued else replica.install(view(2))
        assert not replica.is_upgrading
        assert read(replica) == 5


def reading(kind: ObjectType[Any], group: Line, *, durable: bool = False) -> Gateway:
    """A node with that code, which reads in its log what was ordered."""
    spec = replace(group_of(V1).spec, durable=durable)
    gateway = Gateway(A)
    gateway.register("account", kind)
    gateway.stand(Standing.ACTS, frozenset(), 0)
    now = view(9)
    gateway.deliver(Installed(replace(now, groups=tuple(replace(each, spec=spec) for each in now.groups))))
    gateway.deliver(Founded(7, spec, replayed=True))
    for each in group.ordered:
        gateway.deliver(each)
    return gateway


@pytest.mark.parametrize("held", [1, 0], ids=["held", "not"])
def test_what_was_held_when_a_view_ended_is_there_after_a_restart_of_all(held: int) -> None:
    """The others applied it when the view ended, and acknowledged it, though nothing was ordered since."""
    group, session = line()
    group.order(add(session, 1, 5))
    if held:
        group.order(upgrade(V2))
    group.order(add(session, 2, 1))
    gateway = reading(V2, group)
    gateway.flush(Output())
    replica = gateway.replica("account")
    assert replica is not None and not replica.is_upgrading
    assert read(replica) == 6


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
        slices = saved(first)
        assert version_in(slices[0]) == first.kind.version
        second = Replica(V2, group_of(V1), B, view=9)
        restoration = second.restoration()
        for data in slices:
            restoration.take(data)
        second.restore(restoration)
        for each in group.ordered[place:]:
            second.deliver(each)
        assert states([second]) == states(group.replicas)


def test_who_reads_of_several_upgrades_deals_with_one_in_a_turn() -> None:
    """Nobody would hear of the node for as long as all conversions take: it would be put out, and begin again with as
    many."""
    group, session = line(V3)
    group.order(add(session, 1, 5))
    for since, kind in ((1, V2), (2, V3)):
        group.order(upgrade(kind, since))
        group.settle()
    gateway = reading(V3, group)
    seen = []
    for now in range(0, 9 * TAKE_GAP_NS, TAKE_GAP_NS):
        gateway.stand(Standing.ACTS, frozenset(), now)
        gateway.flush(Output())
        replica = gateway.replica("account")
        assert replica is not None
        seen.append(replica.kind.version)
    assert seen[:3] == [2, 3, 3]
    assert replica is not None and read(replica) == 5


def test_who_has_converted_wants_a_log_from_which_nobody_does_it_again() -> None:
    """If there is one, and also if nothing came of it."""
    group, _ = line()
    group.order(upgrade(V2))
    assert Shorten() not in reading(V2, group, durable=True).flush(Output()), "nothing is agreed on yet"
    group.settle()
    assert Shorten() in reading(V2, group, durable=True).flush(Output())
    assert Shorten() not in reading(V2, group).flush(Output())
    failing, session = line()
    failing.order(add(session, 1, 13), upgrade(V2))
    failing.settle()
    assert failing.ends() != group.ends()
    assert Shorten() in reading(V2, failing, durable=True).flush(Output())


def test_former_code_does_not_go_on_where_the_group_went_over() -> None:
    group = upgraded()
    with pytest.raises(CannotRun, match="it is at version 2 of the class, and this code has AccountV1 up to version 1"):
        again(V1, group.ordered)
    slices = saved(group.replicas[0])
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
