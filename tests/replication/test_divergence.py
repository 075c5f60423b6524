"""Replicas that differ: what a gateway says once its own was found wrong, and what a log says of it (SCENARIOS 35)."""

import random
from typing import Any

import pytest

from phalanx.model.clock import SECOND, stamp_of
from phalanx.model.events import Delivered, Founded, Installed, Multicast, SnapshotTaken, SnapshotWanted, Unhost
from phalanx.model.machine import Output
from phalanx.model.view import Member
from phalanx.replication import entries
from phalanx.replication.actions import Action
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import GATEWAY_LIMITS, GatewayLimits
from phalanx.replication.messages import Command, Declined, Reason, Reply
from phalanx.replication.replica import Replica
from phalanx.replication.standing import Standing
from tests.replication.samples import ACCOUNT, DICE, A, Account, B, C, delivered, group, said, view

ADD = ACCOUNT.operation(Account.add)
SMALL = ADD.encode((1,), {})
LIMITS: GatewayLimits = GATEWAY_LIMITS._replace(client_requests=1, slice_bytes=1)


class Host:
    """One of three; what it multicasts is kept."""

    def __init__(self) -> None:
        self.gateway = Gateway(A, LIMITS, audit_interval=4)
        self.gateway.register("bank", ACCOUNT)
        self.gateway.deliver(Installed(view("a", "b", "c")))
        self.gateway.deliver(Founded(7, view("a", "b", "c").groups[0].spec))
        self.said: list[bytes] = []
        self.asked: list[Any] = []
        self.turn()

    def order(self, sender: Member, *payloads: bytes) -> None:
        self.gateway.deliver(Delivered(7, 1, sender, stamp_of(SECOND), list(payloads)))

    def command(self, request: int) -> None:
        session = stamp_of(SECOND)
        self.gateway.receive("~0", Command(request, "bank", session, request, 1, ADD.id, ADD.types, SMALL))

    def turn(self) -> list[Any]:
        out = Output()
        for request in self.gateway.flush(out):
            if isinstance(request, Multicast):
                self.said += request.payloads
            else:
                self.asked.append(request)
        return [send.message for send in out.sends]


def reported() -> tuple[Host, entries.Report]:
    """A host that has said what its state is at an audit, and that report."""
    host = Host()
    host.order(B, entries.encode(entries.Open(0)), *([b"?"] * 3))
    host.turn()
    (mine,) = host.said
    report = entries.decode(mine)
    assert isinstance(report, entries.Report)
    return host, report


@pytest.mark.parametrize("diverged", [False, True])
def test_a_replica_that_was_found_wrong_answers_no_command(diverged: bool) -> None:
    """The others run it as well, so who waits learns there what it came to."""
    host, report = reported()
    host.command(1)
    host.turn()
    digest = b"another" if diverged else report.digest
    theirs = entries.encode(entries.Report(report.position, digest, 1, report.hosts))
    for sender in (B, C):
        host.order(sender, theirs)
    host.order(A, *host.said)
    said = host.turn()
    if not diverged:
        assert [type(each) for each in said] == [Reply]
        return
    (declined,) = said
    assert isinstance(declined, Declined) and declined.reason is Reason.UNKNOWN
    assert declined.endpoints == ("b:1", "c:1"), "and not this node, which knows nothing any more"
    assert Unhost("bank") in host.asked
    host.command(2)
    assert [each.reason for each in host.turn()] == [Reason.ELSEWHERE], "and what was under way counts no more"


# --- audits, views and logs ---------------------------------------------------------------------------------------


def audited(seed: int) -> bool:
    """Hosts come, go and diverge while audits are under way; in the end somebody reads the log in another view.  Whether
    writes were ever stopped."""
    rng = random.Random(seed)
    members = dict(zip("abc", (A, B, C), strict=True))
    replicas = {
        name: Replica(DICE, group(*"abc"), member, audit_interval=6, view=1) for name, member in members.items()
    }
    queues: dict[str, list[bytes]] = {name: [] for name in members}
    history: list[Delivered] = []
    number, hosts, stopped = 1, list(members), False

    def say(name: str, actions: list[Action]) -> None:
        if name in hosts:
            queues[name] += said(actions)

    for step in range(rng.choice((40, 120))):
        spoken = [name for name in hosts if queues[name]]
        match rng.randrange(8):
            case 0:
                number, hosts = number + 1, sorted(rng.sample("abc", rng.randint(1, 3)))
                for name, replica in replicas.items():
                    if name not in hosts:
                        queues[name].clear()
                    say(name, replica.install(view(*hosts, number=number)))
                continue
            case 1:
                replicas[rng.choice("abc")].object.rolls.append(step)
                continue
            case 2 | 3 | 4 if spoken:
                sender = rng.choice(spoken)
                payload = queues[sender].pop(0)
            case _:
                sender, payload = rng.choice(hosts), b"?"
        history.append(delivered(1_000 + step, payload, sender=members[sender], number=number))
        for name, replica in replicas.items():
            say(name, replica.deliver(history[-1]))
        stopped |= replicas["a"].stopped
    reader = Replica(DICE, group(*rng.sample("abc", 2)), C, audit_interval=6, view=number + 1)
    for each in history:
        reader.deliver(each)
    assert all(replica._audit == reader._audit for replica in replicas.values()), f"seed {seed}"
    return stopped


def test_who_reads_a_log_in_another_view_comes_to_the_same_audit() -> None:
    assert sum(audited(seed) for seed in range(300)) > 30


@pytest.mark.parametrize("diverged", [False, True])
def test_a_replica_that_was_found_wrong_gives_its_state_to_nobody(diverged: bool) -> None:
    """Who had begun to fetch it would be wrong as well, and serve until the next audit."""
    host, report = reported()
    host.gateway.deliver(SnapshotWanted(7, 5))
    host.turn()
    (first,) = [each for each in host.asked if isinstance(each, SnapshotTaken)]
    assert first.data and first.more
    digest = b"another" if diverged else report.digest
    for sender in (B, C):
        host.order(sender, entries.encode(entries.Report(report.position, digest, 1, report.hosts)))
    host.order(A, entries.encode(report))
    host.asked.clear()
    host.gateway.deliver(SnapshotWanted(7, 5))
    host.turn()
    host.gateway.stand(Standing.ACTS, frozenset(), SECOND)
    host.turn()
    (following,) = [each for each in host.asked if isinstance(each, SnapshotTaken)]
    assert (following.data is None) is diverged
