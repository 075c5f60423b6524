"""Audits find replicas whose states differ, and what becomes of them and of the rest (SCENARIOS 35)."""

import pytest

from phalanx.errors import Diverged
from phalanx.model.events import Delivered
from phalanx.model.view import Member
from phalanx.replication import entries
from phalanx.replication.actions import Action, Judged, Say
from phalanx.replication.objects import ObjectType
from phalanx.replication.outcome import Returned
from phalanx.replication.replica import Replica
from tests.replication.samples import (
    ACCOUNT,
    DICE,
    A,
    Account,
    B,
    C,
    D,
    Dice,
    account,
    delivered,
    group,
    reasons,
    restore,
    results,
    run,
    said,
    saved,
    view,
)

SESSION = 1_000 << 16


def roll(replicas: list[Replica[Dice]], count: int, history: list[Delivered] | None = None) -> list[Judged]:
    """Deliver rolls to all replicas and reports to all; what the last one judged."""
    queue: list[tuple[Member, bytes]] = []
    if replicas[0].position == 0:
        queue.append((A, entries.encode(entries.Open(0))))
    first = replicas[0].position + len(queue)
    queue += [(A, run(SESSION, first + n, 1, DICE.invoke(Dice.roll))) for n in range(count)]
    judged: list[Judged] = []
    while queue:
        sender, payload = queue.pop(0)
        if history is not None:
            history.append(delivered(1_000, payload, sender=sender))
        for replica, member in zip(replicas, (A, B, C), strict=False):
            actions: list[Action] = replica.deliver(delivered(1_000, payload, sender=sender))
            queue += [(member, action.payload) for action in actions if isinstance(action, Say)]
            if replica is replicas[-1]:
                judged += [action for action in actions if isinstance(action, Judged)]
    return judged


def dice(kind: ObjectType[Dice], hosts: str) -> list[Replica[Dice]]:
    members = {"a": A, "b": B, "c": C}
    return [Replica(kind, group(*hosts), members[name], audit_interval=5, view=1) for name in hosts]


def load(replica: Replica[Dice]) -> None:
    """Make this replica's class depend on its own random numbers."""
    replica._object.loaded = True


def test_replicas_that_agree_find_nothing() -> None:
    assert roll(dice(DICE, "abc"), 30) == []


def test_a_diverged_minority_is_named_with_the_positions_and_replaced() -> None:
    """SCENARIOS 35."""
    replicas = dice(DICE, "abc")
    assert roll(replicas, 6) == []
    load(replicas[1])
    judged, *_ = roll(replicas, 8)
    assert judged.finding.diverged == ("b",)
    assert (judged.finding.since, judged.finding.position) == (10, 15)
    assert [replica.diverged for replica in replicas] == [False, True, False]
    restore(replicas[1], saved(replicas[0]))
    assert not replicas[1].diverged and roll(replicas, 20) == []


def test_a_replica_whose_digest_raises_where_those_of_others_do_not_has_diverged() -> None:
    replicas = dice(DICE, "abc")
    replicas[1]._object.rolls.append(object())  # type: ignore[arg-type]  # no number: it cannot be encoded
    judged, *_ = roll(replicas, 8)
    assert judged.finding.diverged == ("b",)


def test_without_a_majority_writes_stop_until_the_rest_agree() -> None:
    """SCENARIOS 35."""
    replicas = dice(DICE, "ab")
    load(replicas[0])
    judged = roll(replicas, 20)
    assert [each.finding.diverged for each in judged] == [()]
    assert all(replica.stopped for replica in replicas)
    (hosts,) = said(replicas[1].install(view("b", number=2)))
    (action,) = replicas[1].deliver(delivered(1_000, hosts, sender=B, number=2))
    assert isinstance(action, Judged) and action.finding.agreed and not replicas[1].stopped


def late(member: Member, donor: Replica[Dice]) -> Replica[Dice]:
    """A replica that comes while writes are stopped, and has the state of another."""
    came = Replica(DICE, group("a", "b"), member, audit_interval=5, view=2)
    restore(came, saved(donor))
    assert came.stopped
    return came


def stopped() -> list[Replica[Dice]]:
    """Two that disagree."""
    replicas = dice(DICE, "ab")
    load(replicas[0])
    roll(replicas, 20)
    return replicas


def meet(number: int, *replicas: Replica[Dice]) -> list[Judged]:
    """Their next view begins, and what they say in it is delivered to all; what the first one judged."""
    members = [replica._me for replica in replicas]
    queue: list[tuple[Member, bytes]] = []
    for replica, member in zip(replicas, members, strict=True):
        new = replica.install(view(*(each.name for each in members), number=number))
        queue += [(member, payload) for payload in said(new)]
    judged: list[Judged] = []
    while queue:
        sender, payload = queue.pop(0)
        for replica, member in zip(replicas, members, strict=True):
            actions = replica.deliver(delivered(1_000, payload, sender=sender, number=number))
            queue += [(member, payload) for payload in said(actions)]
            if replica is replicas[0]:
                judged += [action for action in actions if isinstance(action, Judged)]
    return judged


def test_a_host_that_came_while_writes_were_stopped_can_go_on_alone() -> None:
    """It learned the state of one of those who disagreed, and they are gone: no report of it could ever come."""
    came = late(C, stopped()[1])
    (hosts,) = said(came.install(view("a", "b", "c", number=3)))
    assert came.deliver(delivered(1_000, hosts, sender=C, number=3)) == []
    refused = came.deliver(delivered(1_000, run(SESSION, 99, 1, DICE.invoke(Dice.roll)), sender=C, number=3))
    assert reasons(refused) == ["diverged"]
    (hosts,) = said(came.install(view("c", number=4)))
    (action,) = came.deliver(delivered(1_000, hosts, sender=C, number=4))
    assert isinstance(action, Judged) and action.finding.agreed and not action.finding.diverged and not came.stopped
    ran = came.deliver(delivered(1_001, run(SESSION, 100, 1, DICE.invoke(Dice.roll)), sender=C, number=4))
    assert [type(each) for each in results(ran)] == [Returned]


def test_hosts_that_came_while_writes_were_stopped_are_asked_once_nobody_else_disagrees() -> None:
    """They could not report on the audit that found it, so a group that was one short of a majority never went on."""
    a, b = stopped()
    c = late(C, b)
    assert meet(3, b, c, a) == [] and b.stopped, "a third copy makes nobody right"
    (judged,) = meet(4, b, c)
    assert judged.finding.agreed and judged.finding.diverged == ()
    assert (b.stopped, c.stopped) == (False, False)
    ran = b.deliver(delivered(1_001, run(SESSION, 100, 1, DICE.invoke(Dice.roll)), number=4))
    assert "diverged" not in reasons(ran)


def test_a_host_with_the_state_of_one_that_left_is_asked_too() -> None:
    """Its copy is not what the group goes on with."""
    a, b = stopped()
    c, d = late(C, a), late(D, b)
    judged, *_ = meet(3, b, c, d)
    assert judged.finding.diverged == ("c",)
    assert [each.stopped for each in (b, c, d)] == [False] * 3
    assert [each.diverged for each in (b, c, d)] == [False, True, False]


def test_hosts_that_came_and_disagree_stay_stopped_until_one_of_them_leaves() -> None:
    a, b = stopped()
    c = late(C, a)
    assert meet(3, b, c) == []
    assert meet(4, b, c, late(D, b)) == []
    assert b.stopped and c.stopped
    (judged,) = meet(5, c)
    assert judged.finding.agreed and not c.stopped


def test_those_that_reported_may_all_be_gone() -> None:
    a, _ = stopped()
    c, d = late(C, a), late(D, a)
    (judged,) = meet(3, c, d)
    assert judged.finding.agreed
    assert (c.stopped, d.stopped) == (False, False)


@pytest.mark.parametrize("present", ["b", "bc", "abc"])
def test_whoever_reads_of_a_divergence_in_another_view_stops_where_the_others_did(present: str) -> None:
    """A host that comes back with its log, or a learner, ran a command that had been refused: it judged the reports by
    the hosts of the view that it was in itself."""
    live, history = dice(DICE, "ab"), list[Delivered]()
    load(live[0])
    roll(live, 20, history)
    assert all(replica.stopped for replica in live)
    refused = run(SESSION, 100, 1, DICE.invoke(Dice.roll))
    (hosts,) = said(live[1].install(view("b", number=2)))
    later = [
        delivered(1_001, refused, sender=B),
        delivered(1_002, refused, hosts, sender=B, number=2),
        delivered(1_002, run(SESSION, 101, 1, DICE.invoke(Dice.roll)), sender=B, number=2),
    ]
    told = [reasons(live[1].deliver(each)) for each in later]
    assert told == [["diverged"], ["diverged"], []]
    reader = Replica(DICE, group(*present), B, audit_interval=5, view=3)
    for each in history:
        reader.deliver(each)
    assert reader.stopped
    assert [reasons(reader.deliver(each)) for each in later] == told
    assert (reader.stopped, reader.position) == (False, live[1].position)


def test_who_comes_back_while_writes_are_stopped_says_who_the_hosts_are() -> None:
    """All hosts failed, and one returns with its log: nobody else is there to say so."""
    live, history = dice(DICE, "ab"), list[Delivered]()
    load(live[0])
    roll(live, 20, history)
    reader = Replica(DICE, group("b"), B, audit_interval=5, view=3)
    for each in history:
        reader.deliver(each)
    (hosts,) = said(reader.caught_up())
    assert reader.stopped
    reader.deliver(delivered(1_000, hosts, sender=B, number=3))
    assert not reader.stopped


def test_reports_that_were_on_their_way_when_their_view_ended_are_not_judged_by_its_hosts() -> None:
    replicas = dice(DICE, "abc")
    load(replicas[0])
    reports = []
    for replica, member in zip(replicas, (A, B, C), strict=True):
        replica.deliver(delivered(1_000, entries.encode(entries.Open(0))))
        payloads = [run(SESSION, n, 1, DICE.invoke(Dice.roll)) for n in range(1, 5)]
        reports += [(member, payload) for payload in said(replica.deliver(delivered(1_000, *payloads)))]
    assert len(reports) == 3
    hosts = [said(replica.install(view("a", "b", number=2))) for replica in replicas[:2]]
    for sender, payload in [(A, hosts[0][0]), *reports[:2]]:
        for replica in replicas[:2]:
            replica.deliver(delivered(1_000, payload, sender=sender, number=2))
    assert all(replica.stopped for replica in replicas[:2])


def test_a_state_that_does_not_survive_its_snapshot_is_not_served() -> None:
    replica = account()
    (data,) = saved(replica)
    data = data.replace(ACCOUNT.state.digest(Account()).value, b"x" * 16)
    with pytest.raises(Diverged, match="position 0"):
        restore(account(), [data])
