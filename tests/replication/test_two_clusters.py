"""Two clusters under one name: a founder that founded its cluster alone, and loses its disk, founds another one at the
same address.  Whoever has been served by the first must never take an answer of the second for one of the first.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from phalanx.errors import ClusterRecovered, OutcomeUnknown, WrongCluster
from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.objects import CALL_S_MAX
from phalanx.lab.service import KEYS, TEXTS, ServiceScenario
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.history import Outcome
from phalanx.model.machine import LinkDown, Machine, Received
from phalanx.node.node import Node as Machinery
from phalanx.replication.allegiance import Allegiance
from phalanx.replication.calls import Completed, End, error_of
from phalanx.replication.client import ClientMachine
from phalanx.replication.following import Ended, Follow
from phalanx.replication.messages import (
    Batch,
    Declined,
    Opened,
    OpenSession,
    Query,
    Reason,
    Reply,
    SessionKeepAlive,
    Unwatch,
)
from phalanx.replication.outcome import Returned
from phalanx.replication.standing import Place
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Crash, DiskLost, Fault
from phalanx.sim.node import Setup
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, Result, run
from tests.replication.samples import A, view
from tests.replication.test_failover import Program

LOST_AT = 2 * SECOND
END = 10 * SECOND


class Refounding(ServiceScenario):
    """n0 founds the cluster alone, the others join it; then n0 loses its disk, and begins as it began.  Each client has
    been served before that."""

    def start(self, setup: Setup) -> Machine:
        names = self.plan.names
        if setup.name in self.clients:
            return ClientMachine(setup.rng.sample(names, len(names)), setup.rng)
        peers, seeds = ((("n0", "n0"),), ()) if setup.name == "n0" else ((), ("n0",))
        config = Config(setup.name, setup.address, seeds, peers, (), TIMING, LIMITS)
        return Machinery(config, setup.durable, setup.rng, setup.now, {self.object_name: (TEXTS, self.spec)})

    def workload(self, rng: Any) -> Iterable[Call]:
        for client in self.clients:
            yield Call(SECOND, client, ("put", KEYS[0]))
            for at in range(LOST_AT, END, 200 * MILLISECOND):
                yield Call(at, client, (rng.choice(("append", "get", "get")), KEYS[0]))

    def finished(self) -> bool:
        return not self.under_way or self.world.now > END + CALL_S_MAX * SECOND

    @property
    def clusters(self) -> set[int]:
        nodes = [self.world.nodes[name].machine for name in self.plan.names]
        return {
            node.group.view.cluster for node in nodes if isinstance(node, Machinery) and node.group.view is not None
        }


def refound(seed: int, nodes: int) -> tuple[Result, Refounding]:
    scenario = Refounding()
    faults: list[Fault] = [DiskLost(LOST_AT, 0, SECOND // 2)]
    faults += [
        Crash((2 + 2 * node) * SECOND, node, SECOND // 2) for node in range(1, nodes)
    ]  # whose clients go elsewhere
    return run(scenario, Plan(seed, nodes, Conditions(), tuple(faults), END, 120 * SECOND)), scenario


SEEDS = (1, 3, 4, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_clients_of_a_cluster_whose_founder_lost_its_disk_go_on_with_the_others_alone(seed: int) -> None:
    result, scenario = refound(seed, 4)
    assert len(scenario.clusters) == 2, "or this shows nothing"
    assert result.ok, result
    assert result.notes["client.foreign"] > 0, "some client came to the second one"
    assert scenario.world.history[-1].outcome is Outcome.OK


def test_a_client_of_a_cluster_that_is_gone_is_told_so() -> None:
    result, scenario = refound(1, 1)
    assert result.ok, result
    after = [each for each in scenario.world.history if each.invoked > LOST_AT + SECOND]
    assert len(after) > 20 and Outcome.OK not in {each.outcome for each in after}, "nothing happened in the second one"
    reads = [each for each in after if each.f == "get"]
    assert all(each.completed < each.invoked + 5 * SECOND for each in reads), "and not only at the deadline"


@pytest.mark.parametrize("seed", SEEDS)
def test_without_that_reads_are_stale(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "is_foreign", lambda *_: False)
    monkeypatch.setattr(Allegiance, "accepts", lambda *_: True)
    result, _ = refound(seed, 4)
    assert [failure.kind for failure in result.failures] == ["judge violation of linearizability"], result


# --- the client ---------------------------------------------------------------------------------------------------

FIRST, SECOND_ONE, RECOVERED = 0xA, 0xB, 0xC


def served_by_the_first(*endpoints: str) -> Program:
    """A program that has a session with the first cluster."""
    program = Program(*endpoints)
    program.call(0)
    ((endpoint, opening),) = program.take()
    program.step(Received(endpoint, Opened(opening.request, 5, 600_000, (), FIRST)))
    ((_, command),) = program.take()
    assert (opening.cluster, command.cluster) == (0, FIRST), "it belongs to the first that answered"
    program.answer(endpoint, command)
    return program


def declined(program: Program, endpoint: str, message: Any) -> None:
    program.step(Received(endpoint, Declined(message.request, Reason.FOREIGN, "a:1 is of cluster b")))


def test_a_client_leaves_a_node_of_another_cluster_for_one_of_its_own() -> None:
    program = served_by_the_first("a:1", "b:1")
    program.call(1)
    ((_, command),) = program.take()
    declined(program, "a:1", command)
    ((endpoint, again),) = program.take()
    assert (endpoint, again.session, again.number) == ("b:1", command.session, command.number)
    program.answer("b:1", again)
    assert [each.end for each in program.completed] == [End.DONE, End.DONE]


def test_where_all_endpoints_are_of_another_cluster_calls_end_at_once() -> None:
    program = served_by_the_first("a:1", "b:1")
    program.call(1)
    program.read(2)
    for endpoint in ("a:1", "b:1"):
        for _, message in program.take():
            declined(program, endpoint, message)
    assert [(each.token, each.end, each.reason) for each in program.completed[1:]] == [
        (1, End.NOT_HAPPENED, Reason.FOREIGN),
        (2, End.NOT_HAPPENED, Reason.FOREIGN),
    ]
    error = error_of(program.completed[-1])
    assert isinstance(error, WrongCluster) and str(error) == "a:1 is of cluster b"


def test_what_was_sent_to_its_own_cluster_may_have_happened() -> None:
    program = served_by_the_first("a:1")
    program.call(1)
    program.take()
    program.step(LinkDown("a:1"), ms=1)
    program.step(ms=1_000)
    ((_, again),) = program.take()
    declined(program, "a:1", again)
    assert program.completed[-1].end is End.UNKNOWN
    error = error_of(program.completed[-1])
    assert isinstance(error, OutcomeUnknown)
    assert str(error).endswith("it had been sent before that, and may have happened"), "not the refusal alone"


def test_a_client_comes_back_when_its_cluster_does() -> None:
    """No verdict is for good: the address may have been wrong for a while."""
    program = served_by_the_first("a:1")
    program.read(1)
    ((_, query),) = program.take()
    declined(program, "a:1", query)
    program.read(2)
    program.step(ms=10_000)
    ((_, query),) = program.take()
    program.answer("a:1", query)
    assert [each.end for each in program.completed] == [End.DONE, End.NOT_HAPPENED, End.DONE]


def test_a_deadline_names_the_endpoints_that_are_of_another_cluster() -> None:
    program = served_by_the_first("a:1", "b:1")
    program.read(1)
    ((_, query),) = program.take()
    declined(program, "a:1", query)
    program.step(ms=60_000)
    assert program.completed[-1].end is End.NOT_HAPPENED
    assert "a:1: a:1 is of cluster b" in program.completed[-1].text


def test_of_two_clusters_that_answer_at_first_only_one_is_believed() -> None:
    """The first endpoint is silent, the second answers, then the first does."""
    program = Program("a:1", "b:1")
    program.read(1)
    program.read(2)
    (_, first), (_, second) = program.take()
    program.step(ms=300)
    again, _ = (message for endpoint, message in program.take() if endpoint == "b:1")
    program.step(Received("b:1", Reply(again.request, Returned(b"\x01"), 1, SECOND_ONE)))
    program.step(Received("a:1", Reply(second.request, Returned(b"\x02"), 1, FIRST)))
    assert [each.token for each in program.completed] == [1]
    assert first.cluster == again.cluster == 0


def test_a_client_goes_with_its_cluster_when_that_is_recovered_and_never_back() -> None:
    program = served_by_the_first("a:1", "b:1")
    program.read(1)
    program.read(2)
    (_, query), (_, late) = program.take()
    program.step(Received("a:1", Reply(query.request, Returned(b"\x01"), 1, RECOVERED)))
    program.step(Received("a:1", Reply(late.request, Returned(b"\x02"), 1, 0)))
    assert [each.token for each in program.completed[1:]] == [1], "the second is an answer of the old one"
    program.read(3)
    assert {message.cluster for _, message in program.take()} == {RECOVERED}


def recovered(program: Program, endpoint: str, message: Any) -> None:
    program.step(Received(endpoint, Declined(message.request, Reason.LOST, "a is recovered", (), RECOVERED)))


def test_whoever_waits_when_the_cluster_was_recovered_is_told_and_later_calls_are_served() -> None:
    program = served_by_the_first("a:1")
    program.call(1)
    program.read(2)
    (_, command), (_, query) = program.take()
    recovered(program, "a:1", query)
    program.call(3)
    ((_, opening),) = program.take()
    assert isinstance(opening, OpenSession) and opening.cluster == RECOVERED, "no session of before is known there"
    program.step(Received("a:1", Opened(opening.request, 9, 600_000, ())))
    recovered(program, "a:1", command)
    ((_, again),) = program.take()
    assert (again.session, again.cluster) == (9, RECOVERED)
    program.call(4)
    ((_, next_one),) = program.take()
    assert (next_one.session, next_one.number) == (9, 2), "the late news is of the former one"
    program.answer("a:1", again)
    assert [(each.token, each.end) for each in program.completed[1:]] == [
        (2, End.NOT_HAPPENED),
        (1, End.NOT_HAPPENED),
        (3, End.DONE),
    ]
    assert isinstance(error_of(program.completed[1]), ClusterRecovered)


def test_a_session_that_is_kept_alive_for_nobody_does_not_hide_the_news() -> None:
    program = served_by_the_first("a:1")
    program.step(ms=200_001)
    ((_, sign),) = program.take()
    assert isinstance(sign, SessionKeepAlive)
    recovered(program, "a:1", sign)
    program.step(ms=200_001)
    program.call(1)
    ((_, opening),) = program.take()
    assert isinstance(opening, OpenSession) and opening.cluster == FIRST
    recovered(program, "a:1", opening)
    assert [(each.token, each.reason) for each in program.completed[1:]] == [(1, Reason.LOST)]
    program.call(2)
    program.step(ms=10_000)
    ((_, opening),) = program.take()
    assert opening.cluster == RECOVERED


# --- watches ------------------------------------------------------------------------------------------------------


class Watching(Program):
    """Its watches begin at position 7."""

    def begin(self, group: str = "bank") -> Any:
        self.step(Follow(len(self.sent), group, "watch@1", 1, b"", 7))
        return self.registered()

    def registered(self) -> Any:
        ((_, message),) = [each for each in self.take() if not isinstance(each[1], Unwatch)]
        return message


def test_of_two_clusters_that_feed_watches_at_first_only_one_is_believed() -> None:
    program = Watching("a:1")
    bank = program.begin("bank")
    program.step(Follow(1, "shop", "watch@1", 1, b"", 7))
    shop = program.registered()
    program.step(Received("a:1", Batch(bank.request, 65536, 7, 8, b"x", FIRST)))
    program.step(Received("a:1", Batch(shop.request, 65536, 7, 8, b"y", SECOND_ONE)))
    assert [each.data for each in program.completed] == [b"x"]
    again = program.registered()
    assert (again.group, again.cluster, again.position) == ("shop", FIRST, 7)


def test_a_watch_says_of_which_cluster_its_position_is() -> None:
    """A call may have brought the client to the recovered one; what the watch was told is of the former."""
    program = Watching("a:1")
    bank = program.begin("bank")
    program.step(Received("a:1", Batch(bank.request, 65536, 7, 8, b"x", FIRST)))
    program.read(5)
    ((_, query),) = program.take()
    recovered(program, "a:1", query)
    program.step(LinkDown("a:1"), ms=1)
    program.step(ms=1_000)
    again = program.registered()
    assert (again.cluster, again.position) == (FIRST, 8)
    recovered(program, "a:1", again)
    ended: Any = program.completed[-1]
    assert (type(ended), ended.reason) == (Ended, Reason.LOST)
    fresh = program.begin("shop")
    assert fresh.cluster == RECOVERED


def registered_again(program: Watching) -> Any:
    """A watch that has been told something of the first cluster, and asks there for what follows."""
    watch = program.begin()
    program.step(Received("a:1", Batch(watch.request, 65536, 7, 8, b"x", FIRST)))
    program.step(LinkDown("a:1"), ms=1)
    program.step(ms=1_000)
    return program.registered()


def test_who_calls_is_told_of_the_recovery_though_a_watch_was_told_first() -> None:
    """What is under way, or else the next call: once."""
    program = Watching("a:1")
    watch = registered_again(program)
    recovered(program, "a:1", watch)
    ended: Any = program.completed[-1]
    assert (type(ended), ended.reason) == (Ended, Reason.LOST)
    program.read(5)
    assert [type(message) for _, message in program.take()] == [Unwatch]
    (told,) = [each for each in program.completed if isinstance(each, Completed)]
    assert (told.token, told.end) == (5, End.NOT_HAPPENED) and isinstance(error_of(told), ClusterRecovered)
    program.read(6)
    ((_, query),) = program.take()
    assert query.cluster == RECOVERED
    program.answer("a:1", query)
    assert program.completed[-1].end is End.DONE


def test_what_was_sent_before_a_watch_was_told_is_declined_by_its_own_answer() -> None:
    program = Watching("a:1")
    watch = registered_again(program)
    program.read(5)
    ((_, query),) = program.take()
    recovered(program, "a:1", watch)
    recovered(program, "a:1", query)
    program.read(6)
    assert [type(message) for _, message in program.take()] == [Unwatch, Query], "nobody is told twice"
    ends = [(each.token, each.reason) for each in program.completed if isinstance(each, Completed)]
    assert ends == [(5, Reason.LOST)]


def test_a_watch_ends_where_all_endpoints_are_of_another_cluster() -> None:
    program = Watching("a:1", "b:1")
    watch = program.begin()
    program.step(Received("a:1", Batch(watch.request, 65536, 7, 8, b"x", FIRST)))
    program.step(LinkDown("a:1"))
    for endpoint in ("b:1", "a:1"):
        again = program.registered()
        assert (again.cluster, again.identity, again.position) == (FIRST, 65536, 8)
        assert len(program.completed) == 1, "it goes on"
        declined(program, endpoint, again)
        program.step(ms=1_000)
    ended: Any = program.completed[-1]
    assert (type(ended), ended.reason) == (Ended, Reason.FOREIGN)


# --- the node -----------------------------------------------------------------------------------------------------


def test_a_node_answers_clients_of_its_cluster_and_of_those_that_it_comes_from() -> None:
    place = Place(A)
    assert not place.is_foreign(FIRST), "it is in no cluster yet, and serves nobody"
    place.view = msgspec.structs.replace(view("a"), cluster=RECOVERED, lineage=(FIRST,))
    assert [place.is_foreign(cluster) for cluster in (0, RECOVERED, FIRST, SECOND_ONE)] == [False, False, False, True]
    assert place.stranger(SECOND_ONE) == f"{A} is of cluster c, and this client belongs to cluster b"
