"""A node that is put out again and again, soon after it was let in, waits longer each time (group/backoff.py)."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.group.backoff import FREE, STAYED, Backoff, is_wanted
from phalanx.group.config import Timing
from phalanx.group.probation import LEVEL_MAX
from phalanx.lab.service import KEYS, ServiceScenario
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Leave
from phalanx.model.machine import Output
from phalanx.model.view import Group, GroupSpec, Member, Suspended, View
from phalanx.node.node import Node as Machinery
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Pause
from phalanx.sim.node import Node
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, run

STARVED_S = 90
ALWAYS = range(1, STARVED_S, 2)


class Loaded(ServiceScenario):
    """Commands all the time; the notes of the last node, with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[int, str, tuple[Any, ...]]] = []
        self.said: dict[int, str] = {}

    def workload(self, rng: random.Random) -> Iterable[Call]:
        for at in range(SECOND, self.plan.heal_at_ns, SECOND // 5):
            yield Call(at, rng.choice(self.clients), ("append", KEYS[0]))

    def after_step(self, node: Node, output: Output) -> str | None:
        if node.name == self.plan.names[-1]:
            self.noted += [(self.world.now, note.what, note.detail) for note in output.notes]
            assert isinstance(node.machine, Machinery)
            self.said[self.world.now] = node.machine.status.waits
        return super().after_step(node, output)

    def times(self, what: str) -> list[int]:
        return [at for at, noted, _ in self.noted if noted == what]


def starved(at_s: Iterable[int], nodes: int = 3, scenario: Loaded | None = None) -> Loaded:
    """The last node has no processor for most of a second from each of these instants on.  It gets well afterwards."""
    scenario = scenario or Loaded()
    pauses = tuple(Pause(at * SECOND, nodes - 1, 900 * MILLISECOND) for at in at_s)
    result = run(scenario, Plan(7, nodes, Conditions(), pauses, STARVED_S * SECOND))
    assert result.ok, str(result)
    return scenario


def few_exclusions() -> Loaded:
    scenario = starved(ALWAYS)
    assert len(scenario.times("excluded")) <= 8
    return scenario


def test_a_starved_node_waits_longer_each_time_before_it_asks_to_be_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = few_exclusions()
    waits = [detail[0] for _, what, detail in scenario.noted if what == "node.waits"]
    assert waits == [1_000 << n for n in range(len(waits))] and len(waits) >= 5
    for at, ms in zip(scenario.times("node.waits"), waits, strict=True):
        soon = [t for t in scenario.times("installed") if at < t < at + ms * MILLISECOND]
        assert soon == [], "it was let in before"
    text = "was put out again and again soon after it had been let in, and waits 8 s before it asks anew at n0, n1"
    assert text in scenario.said.values()
    monkeypatch.setattr(Backoff, "put_out", lambda _, now: now)
    with pytest.raises(AssertionError):
        few_exclusions()


def test_a_node_that_is_put_out_now_and_then_returns_at_once() -> None:
    scenario = starved((*range(1, 6, 2), *range(40, 45, 2)))
    assert len(scenario.times("excluded")) >= 2
    assert scenario.times("node.waits") == []


def test_a_node_returns_at_once_to_one_that_is_alone() -> None:
    """Whose failure would be the end of a group in memory."""
    scenario = starved(ALWAYS, nodes=2)
    assert len(scenario.times("excluded")) > 8
    assert scenario.times("node.waits") == []


def test_one_that_waits_can_leave_at_once() -> None:
    class Leaving(Loaded):
        def after_step(self, node: Node, output: Output) -> str | None:
            if any(note.what == "node.waits" and note.detail[0] >= 8_000 for note in output.notes):
                self.world.schedule(SECOND // 20, self._leave)
            return super().after_step(node, output)

        def _leave(self) -> None:
            self.world.request(self.plan.names[-1], Leave())

        def finished(self) -> bool:
            return True

    scenario = starved(ALWAYS, scenario=Leaving())
    assert scenario.times("node.excluded")[-1] - scenario.times("node.waits")[-1] < SECOND


# --- the account


def test_the_wait_doubles_up_to_its_bound_and_who_has_stayed_begins_anew() -> None:
    timing = Timing()
    account, now, waits = Backoff(timing), 0, []
    for _ in range(FREE + LEVEL_MAX + 3):
        account.is_in(now)
        account.is_in(now + SECOND)
        now += STAYED * timing.penalty - 1
        waits.append(account.put_out(now) - now)
    assert waits == [0] * FREE + [timing.penalty << n for n in (*range(LEVEL_MAX + 1), LEVEL_MAX, LEVEL_MAX)]
    account.is_in(now)
    now += STAYED * timing.penalty
    assert [account.put_out(now) - now for _ in range(FREE + 1)] == [0] * FREE + [timing.penalty]


def test_who_is_wanted_does_not_wait() -> None:
    a, b, c = (Member(name, name, 1) for name in "abc")

    def out(
        hosts: str = "ab", members: str = "ab", copies: int = 1, suspended: bool = False, listed: bool = False
    ) -> bool:
        group = Group(1, GroupSpec("g", durable=True, min_copies=copies), tuple(hosts))
        view = View(
            1,
            7,
            tuple(m for m in (a, b) if m.name in members),
            (c,) if listed else (),
            (group,),
            suspended=(Suspended(group, 5, (a, b), 0, ()),) if suspended else (),
        )
        return is_wanted(view, "c", {"g"})

    assert not out()
    assert is_wanted(None, "c", ())
    assert out(members="a")
    assert out(hosts="a"), "one copy is left"
    assert out(copies=3), "it takes no writes without it"
    assert out(suspended=True)
    assert out(listed=True)
