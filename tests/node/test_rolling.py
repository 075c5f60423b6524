"""Rolling restarts: who is restarted when, and what is waited for."""

from dataclasses import dataclass, field

import msgspec
import pytest

from phalanx.model.clock import SECOND, Instant
from phalanx.model.view import Member
from phalanx.node.rolling import Action, Done, Restart, Rolling, Stop, Wait, cannot_spare, unsettled
from phalanx.node.status import GroupStatus, Status, SuspendedStatus

NAMES = ("a", "b", "c")
HOSTS = GroupStatus("g", 1, "total", NAMES, (), "host", True, 0)


@dataclass
class Cluster:
    """What three nodes say, which tests change."""

    statuses: dict[str, Status | None] = field(default_factory=dict)
    now: int = 0

    def __post_init__(self) -> None:
        members = tuple(Member(name, name, 1) for name in NAMES)
        for name in NAMES:
            self.statuses[name] = Status(name, name, 1, "member", "c", 1, members, (), (), 1, False, (HOSTS,))

    def change(self, name: str, **fields: object) -> None:
        status = self.statuses[name]
        assert status is not None
        self.statuses[name] = msgspec.structs.replace(status, **fields)

    def change_all(self, **fields: object) -> None:
        for name in NAMES:
            self.change(name, **fields)

    def restarted(self, name: str) -> None:
        """It is back, and all is well."""
        status = self.statuses[name]
        assert status is not None
        self.change(name, incarnation=status.incarnation + 1)

    def step(self, rolling: Rolling, seconds: float = 0.0) -> Action:
        self.now += int(seconds * SECOND)
        return rolling.step(self.statuses, Instant(self.now, 0))


def test_members_are_restarted_in_turn_the_eldest_last() -> None:
    cluster, rolling = Cluster(), Rolling()
    for name in ("c", "b", "a"):
        assert cluster.step(rolling) == Restart(name)
        assert cluster.step(rolling) == Wait(f"{name} is not back: it was not restarted, and is still {name}#1")
        cluster.restarted(name)
    assert cluster.step(rolling) == Done()
    assert rolling.restarted == ["c", "b", "a"]


@pytest.mark.parametrize(("meant", "stops"), [("", False), ("c", False), ("f", True)])
def test_members_of_another_cluster_are_left_alone(meant: str, stops: bool) -> None:
    cluster, rolling = Cluster(), Rolling(cluster=meant)
    if stops:
        assert cluster.step(rolling) == Stop("a is of cluster c, not of f")
    else:
        assert cluster.step(rolling) == Restart("c")
        cluster.change("c", state="outside", cluster="", incarnation=2)
        assert isinstance(cluster.step(rolling), Wait), "it is in none yet"
        cluster.change("c", state="member", cluster="d")
        assert cluster.step(rolling) == Stop("c is of cluster d, not of c"), "it has founded another, with a new disk"
        cluster.change("c", cluster="c")
    assert isinstance(cluster.step(rolling), Stop), "it stays so"


def test_those_who_are_named_in_that_order() -> None:
    cluster, rolling = Cluster(), Rolling(["b", "c"])
    assert cluster.step(rolling) == Restart("b")
    cluster.restarted("b")
    assert cluster.step(rolling) == Restart("c")
    cluster.restarted("c")
    assert cluster.step(rolling) == Done()


def test_a_name_that_nobody_knows_is_not_waited_for() -> None:
    """A mistyped one was, for the whole patience, as one who is no full member."""
    cluster = Cluster()
    assert cluster.step(Rolling(["b", "d", "e"])) == Stop("no member or learner has the name d, e: there are a, b, c")
    cluster.change("a", learners=(Member("d", "d", 1),))
    assert isinstance(cluster.step(Rolling(["d"])), Wait)


def test_one_who_is_away_or_may_be_the_one_who_does_not_answer_is_waited_for() -> None:
    cluster = Cluster()
    cluster.change("a", departed=("d",))
    assert cluster.step(Rolling(["d"])) == Wait("d cannot be spared: it is no full member")
    statuses, now = cluster.statuses, Instant(0, 0)
    assert isinstance(Rolling(["e"]).step(statuses, now, {"e.example:1": "nobody listens there"}), Wait)
    assert isinstance(Rolling(["e"]).step({"c": None}, now), Wait), "nobody answers, so nobody knows who there is"
    for status in statuses:
        cluster.change(status, view=-1, members=())
    assert isinstance(cluster.step(Rolling(["e"])), Wait), "nor who is in no view yet"


def test_one_who_was_known_stays_so_while_it_is_restarted() -> None:
    cluster, rolling = Cluster(), Rolling(["c"])
    assert cluster.step(rolling) == Restart("c")
    back = cluster.statuses.pop("c")
    for name in ("a", "b"):
        cluster.change(name, members=(Member("a", "a", 1), Member("b", "b", 1)))
    assert isinstance(cluster.step(rolling), Wait), "and no former version says who has departed"
    cluster.statuses["c"] = back
    cluster.change_all(members=(Member("a", "a", 1), Member("b", "b", 1), Member("c", "c", 2)))
    cluster.restarted("c")
    assert cluster.step(rolling) == Done()


def test_a_pause_staggers_them() -> None:
    cluster, rolling = Cluster(), Rolling(patience_ns=SECOND, pause_ns=10 * SECOND)
    assert cluster.step(rolling) == Restart("c")
    cluster.restarted("c")
    assert cluster.step(rolling, 0.5) == Wait("it is too early to restart b")
    assert cluster.step(rolling, 9.9) == Wait("it is too early to restart b")
    assert cluster.step(rolling, 0.1) == Restart("b"), "the pause is no lack of patience"


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("c is learner", {"state": "learner"}),
        ("a view is being changed", {"view": 2}),
        ("c suspects a", {"suspects": ("a",)}),
        ("still to get its state", {"groups": (msgspec.structs.replace(HOSTS, synced=False),)}),
        ("still to get its state", {"groups": (msgspec.structs.replace(HOSTS, learners=("b",)),)}),
    ],
)
def test_a_cluster_that_is_not_at_rest_is_left_alone(why: str, fields: dict[str, object]) -> None:
    cluster, rolling = Cluster(), Rolling(patience_ns=SECOND)
    cluster.change("c", **fields)
    assert why in unsettled(cluster.statuses)
    waits = cluster.step(rolling)
    assert isinstance(waits, Wait) and why in waits.why
    stops = cluster.step(rolling, 1)
    assert isinstance(stops, Stop) and why in stops.why
    cluster = Cluster(now=cluster.now)
    assert cluster.step(rolling) == stops, "and it does not begin again by itself"


def test_nobody_is_restarted_while_somebody_does_not_answer() -> None:
    cluster, rolling = Cluster(), Rolling()
    cluster.statuses["b"] = None
    assert cluster.step(rolling) == Wait("b does not answer")
    del cluster.statuses["b"]
    assert cluster.step(rolling) == Wait("b does not answer")
    assert Rolling().step({}, Instant(0, 0)) == Wait("nobody answers")


def test_what_does_not_answer_is_told_of_with_the_reason() -> None:
    def told(*names: str) -> Action:
        cluster = Cluster()
        for name in names:
            cluster.statuses[name] = None
        return Rolling().step(cluster.statuses, Instant(0, 0), {"b": "late", "c": "refused"})

    assert told("b") == Wait("b does not answer: late")
    assert told("b", "c") == Wait("b, c does not answer: b: late; c: refused")
    assert told("a") == Wait("a does not answer")
    cluster, rolling = Cluster(), Rolling()
    cluster.step(rolling)
    cluster.statuses["c"] = None
    back = rolling.step(cluster.statuses, Instant(0, 0), {"c": "nobody listens there"})
    assert back == Wait("c is not back: it does not answer: nobody listens there")
    assert Rolling().step({}, Instant(0, 0), {"h:1": "refused"}) == Wait("nobody answers: refused")
    assert Rolling().step({}, Instant(0, 0), {"h:1": "x", "h:2": "y"}) == Wait("nobody answers: h:1: x; h:2: y")


def test_learners_and_suspended_groups_are_waited_for() -> None:
    cluster = Cluster()
    cluster.change_all(learners=(Member("d", "d", 1),))
    assert unsettled(cluster.statuses) == "d is no full member yet"
    cluster = Cluster()
    cluster.change_all(suspended=(SuspendedStatus("old", 2, ("x",)),))
    assert unsettled(cluster.statuses) == "group old is suspended"


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("does not survive the failure of one", {"survives": 0}),
        ("it is the only host of group g", {"groups": (msgspec.structs.replace(HOSTS, hosts=("c",)),)}),
        (
            "takes no writes with fewer than 3",
            {"groups": (msgspec.structs.replace(HOSTS, durable=True, min_copies=3),)},
        ),
    ],
)
def test_a_member_that_cannot_be_spared_is_not_restarted(why: str, fields: dict[str, object]) -> None:
    cluster, rolling = Cluster(), Rolling(patience_ns=SECOND)
    cluster.change_all(**fields)
    assert why in cannot_spare(cluster.statuses, "c")
    assert isinstance(cluster.step(rolling), Wait)
    stops = cluster.step(rolling, 1)
    assert isinstance(stops, Stop) and stops.why.startswith("c cannot be spared") and why in stops.why


def test_a_group_that_is_hosted_elsewhere_spares_a_member() -> None:
    cluster = Cluster()
    cluster.change_all(groups=(msgspec.structs.replace(HOSTS, hosts=("a",), here=""),))
    assert cannot_spare(cluster.statuses, "c") == ""
    assert cannot_spare(cluster.statuses, "d") == "it is no full member"


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("it is learner", {"state": "learner"}),
        ("it does not host g yet", {"groups": ()}),
        ("it does not host g yet", {"groups": (msgspec.structs.replace(HOSTS, here="learner"),)}),
        ("it does not host g yet", {"groups": (msgspec.structs.replace(HOSTS, synced=False),)}),
    ],
)
def test_the_next_waits_until_the_last_is_back_with_its_state(why: str, fields: dict[str, object]) -> None:
    cluster, rolling = Cluster(), Rolling(patience_ns=10 * SECOND)
    assert cluster.step(rolling) == Restart("c")
    cluster.statuses["c"] = None
    assert cluster.step(rolling, 5) == Wait("c is not back: it does not answer")
    cluster.statuses["c"] = Cluster().statuses["c"]
    cluster.change("c", incarnation=2, **fields)
    assert cluster.step(rolling) == Wait(f"c is not back: {why}")
    assert cluster.step(rolling, 5) == Stop(f"c is not back: {why}")
    assert rolling.restarted == []


def test_a_cluster_that_was_recovered_is_known_by_its_former_id() -> None:
    cluster = Cluster()
    cluster.change_all(cluster="e", lineage=("c", "d"))
    for known in ("c", "d", "e"):
        assert cluster.step(Rolling(cluster=known)) == Restart("c")
    assert cluster.step(Rolling(cluster="f")) == Stop("a is of cluster e, not of f")


@pytest.mark.parametrize("known", ["", "c", "d"])
@pytest.mark.parametrize("behind", NAMES)
def test_one_who_is_still_of_what_was_recovered_without_it_is_no_member(behind: str, known: str) -> None:
    cluster = Cluster()
    cluster.change_all(cluster="d", lineage=("c",))
    cluster.change(behind, cluster="c", lineage=())
    stops = cluster.step(Rolling(cluster=known))
    assert isinstance(stops, Stop)
    assert stops.why.startswith(f"{behind} is of cluster c, whose place d has taken by recovery: stop it")


def test_two_recoveries_of_one_cluster_are_two_clusters() -> None:
    cluster = Cluster()
    cluster.change_all(cluster="d", lineage=("c",))
    cluster.change("b", cluster="e")
    assert cluster.step(Rolling(cluster="c")) == Stop("b is of cluster e, not of d")
