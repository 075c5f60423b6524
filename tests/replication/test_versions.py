"""What a class says of the version before it, and when the hosts of a group go over to the next."""

from collections.abc import Iterator
from typing import Any

import pytest

from phalanx.errors import ConfigurationError
from phalanx.model.replicated import command, query, version
from phalanx.replication.actions import CanRun
from phalanx.replication.objects import ObjectType, describe
from phalanx.replication.replica import Replica
from phalanx.replication.rollout import AGAIN_NS, QUIET_NS, RETRY_NS, Rollout
from tests.replication.samples import A, B, C
from tests.replication.versions import V1, V2, V3, AccountV1, AccountV2, AccountV3, Line, group_of, replica_of, upgrade

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
