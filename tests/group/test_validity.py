"""Messages that no correct member sends (SCENARIOS 41): one connection is dropped, and nothing else happens.

Real messages are recorded and altered on the wire, where the decoder checks types only: what comes out is what a hostile
member can make this node read.
"""

import random
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from phalanx.group.machine import GroupMachine
from phalanx.group.messages import (
    Accept,
    Chunk,
    Commit,
    Cut,
    Decision,
    Envelope,
    Nack,
    Pull,
    Refuse,
    Wish,
)
from phalanx.group.soundness import fault_in_decision
from phalanx.group.validity import fault_in
from phalanx.lab.groups import GroupScenario
from phalanx.model.machine import Output, Received
from phalanx.model.view import Member
from phalanx.sim.node import Setup
from phalanx.sim.run import run_seed
from tests.group.cluster import Cluster
from tests.group.lies import BODIES, altered


class Liar(GroupMachine):
    """A node whose peers also say, now and then, what they did not say."""

    liar: random.Random
    rate = 0.0
    told: list[Envelope]

    def step(self, events: Any, now: Any) -> Output:
        mixed: list[Any] = []
        for event in events:
            mixed.append(event)
            if isinstance(event, Received) and self.liar.random() < self.rate:
                lie = next((m for _ in range(9) if (m := altered(self.liar, event.message)) is not None), None)
                if lie is not None and self.admits(lie):
                    mixed.insert(self.liar.randrange(len(mixed) + 1), Received(event.source, lie))
                    self.told.append(lie)
        return super().step(mixed, now)

    def admits(self, _lie: Envelope) -> bool:
        return True


class Caught(Liar):
    """One whose peers tell only such lies as are seen through when they are told."""

    def admits(self, lie: Envelope) -> bool:
        core = self._core
        known = lie.cluster == core.cluster or isinstance(lie.body, Wish | Refuse | Commit)
        return known and fault_in(core, lie.sender, lie.body) is not None


def scenario(kind: type[Liar], rate: float, seed: int) -> Callable[[], GroupScenario]:
    """The group scenario with such nodes."""
    liar = random.Random(seed)

    class Lies(GroupScenario):
        def start(self, setup: Setup) -> GroupMachine:
            machine = super().start(setup)
            machine.__class__ = type(kind.__name__, (kind,), {"liar": liar, "rate": rate, "told": []})
            return machine

    return Lies


# --- what honest nodes say


class Judged(GroupMachine):
    """One that writes down what it holds against its peers."""

    faults: list[str]
    heard: set[type]

    def _absorb(self, event: Any) -> None:
        super()._absorb(event)
        self.heard |= {type(event.message.body)} if isinstance(event, Received) else set()

    def step(self, events: Any, now: Any) -> Output:
        output = super().step(events, now)
        self.faults += [str(note) for note in output.notes if note.what == "fault"]
        return output


def test_nothing_is_held_against_honest_members_under_any_fault() -> None:
    faults: list[str] = []
    heard: set[type] = set()

    class Honest(GroupScenario):
        def start(self, setup: Setup) -> GroupMachine:
            machine = super().start(setup)
            machine.__class__ = type("Judged", (Judged,), {"faults": faults, "heard": heard})
            return machine

    for seed in (1, 5, 8, 13, 19, 21):
        assert run_seed(Honest, seed).ok
    assert not faults
    assert heard >= set(BODIES) - {Refuse, Nack, Pull}


# --- what liars say


@pytest.mark.parametrize("seed", range(12))
def test_whatever_peers_say_no_step_raises(seed: int) -> None:
    """Plausible lies may well lead a group astray: members are trusted.  They must not stop the process."""
    result = run_seed(scenario(Liar, 0.02, seed), seed)
    assert not [f for f in result.failures if f.kind.startswith("step ")]


@pytest.mark.parametrize("seed", (1, 5, 8, 13, 19, 21))
def test_what_is_seen_through_changes_nothing(seed: int) -> None:
    """Connections are dropped, and the group goes on, agrees, and is whole in the end."""
    result = run_seed(scenario(Caught, 0.01, seed), seed)
    assert result.notes.get("fault", 0) > 0
    assert result.ok, result


def learner_told(data: bytes, *, ahead: int, hosts: int) -> Cluster:
    """The donor tells the learner c a snapshot that is `ahead` views younger than c's view, and of so many hosts; then a
    view goes by."""
    cluster = Cluster("abc", founders="ab", late="c")
    cluster.until_members("ab")
    lost = cluster.drop(Chunk, target="c")
    cluster.restart("c")
    cluster.until(lambda: cluster.learners("a") == cluster.learners("c") == "c", "a learner")
    cluster.run(0.3)
    view = cluster.view("c")
    assert view is not None
    group = view.groups[0].id
    digest = blake2b(data, digest_size=16).digest()
    lie = Chunk(group, 1 << 50, view.id + ahead, (0,) * hosts, digest, 0, len(data), data)
    for donor in map(cluster.machine, "ab"):  # whichever of them c has chosen
        message = Received(donor.me.address, Envelope(view.cluster, donor.me, lie))
        cluster.world.arrive(cluster.world.nodes["c"], message)
    cluster.run(0.3)
    lost.lift()
    cluster.crash("b")
    cluster.run(3)
    return cluster


@pytest.mark.parametrize(("later", "refused"), [(-1, True), (0, False), (1, False)])
def test_a_view_does_not_go_back_to_an_earlier_life_of_a_process(later: int, refused: bool) -> None:
    with Cluster("ab") as cluster:
        cluster.until_members("ab")
        core = cluster.machine("b")._core
        view = core.view
        assert view is not None
        a, b = view.members
        members = Member(a.name, a.address, a.incarnation + later), b
        cuts = tuple(Cut(group.id, (0,) * len(group.hosts)) for group in view.groups)
        successor = msgspec.structs.replace(view, id=view.id + 1, members=members)
        fault = fault_in_decision(core, Decision(view.id, successor, cuts, core.clock.now))
        assert ("after a later life of its process" in (fault or "")) == refused


def test_a_snapshot_that_is_no_snapshot_is_fetched_again() -> None:
    with learner_told(b"\xff\xff\xff\xff", ahead=0, hosts=2) as cluster:
        cluster.until_members("ac")


def test_a_snapshot_of_a_view_to_come_is_judged_again_when_that_has_come() -> None:
    with learner_told(b"\x92\xc4\x01\x90\x90", ahead=1, hosts=5) as cluster:
        cluster.until_members("ac")


def test_strangers_without_number_do_not_keep_the_view_from_changing() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.crash("c")
        for _ in range(8):
            for number in range(80):
                stranger = Member(f"z{number}", f"z{number}", 5)
                message = Received(stranger.address, Envelope(0, stranger, Wish(stranger, True, (), (), False)))
                cluster.world.arrive(cluster.world.nodes["a"], message)
            cluster.run(0.5)
        assert cluster.members("a") == "ab", cluster.status()


def test_a_client_that_repeats_what_members_say_is_no_member() -> None:
    """SCENARIOS 42: under TLS a client is known to be one, and a decision that it tells of would be believed."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        said = cluster.hold(Accept, source="a", target="b")
        cluster.crash("c")
        cluster.until(lambda: bool(said.caught), "a's proposal")
        target, received = said.caught[0]
        proposal: Envelope = received.message
        assert isinstance(proposal.body, Accept)
        decision = Envelope(proposal.cluster, proposal.sender, Commit(proposal.body.value))
        before = cluster.view("b")
        for message in (proposal, decision):
            cluster.world.arrive(target, Received("~1", message))
        cluster.run(0.01)
        assert cluster.view("b") == before, cluster.status()
        assert cluster.world.notes["fault"] == 2
        cluster.let_go(said)
        cluster.until_members("ab")
