"""Snapshots of groups of the product in the simulator: any order, several askers, bad links, a crash; each is consistent
or none."""

import random
from typing import NamedTuple

import pytest

from phalanx.lab.textbook.banking import START, Branch, Cut
from phalanx.lab.textbook.membership import Application, Members
from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import GroupSpec, Name, Order
from phalanx.replication.globalstate import _Recording
from phalanx.sim.conditions import Conditions

QUESTIONS = 20


class Run(NamedTuple):
    """What became of the questions."""

    cuts: list[Cut]
    void: int
    money: int | None
    """All there is; None: a branch crashed."""

    @property
    def wrong(self) -> list[str]:
        return [
            f"{cut.wrong_channels} wrong channels, {cut.orphans} orphans, {cut.money} of {self.money}"
            for cut in self.cuts
            if cut.wrong_channels or cut.orphans or self.money not in (None, cut.money)
        ]


def conditions(rng: random.Random) -> Conditions:
    return Conditions(
        stagger_ns=0,
        delay_min_ns=rng.choice((50 * MICROSECOND, MILLISECOND)),
        delay_spread_ns=rng.choice((1, 5, 20)) * MILLISECOND,
        lossy=rng.random() < 0.5,
        duplicate=0.05,
        late=0.05,
        late_ns=10 * MILLISECOND,
        grouped=rng.random(),
    )


def audit(seed: int) -> Run:
    """Branches pay each other at random; the two eldest ask, at random; the youngest may crash."""
    rng = random.Random(seed)
    names = [f"P{number}" for number in range(1, rng.randint(2, 5) + 1)]
    spec = GroupSpec("bank", rng.choice((Order.FIFO, Order.CAUSAL, Order.TOTAL)), rng.random() < 0.3)
    branches = {name: Branch(name, names, polls=False) for name in names}
    applications: dict[Name, Application] = dict(branches)
    members = Members(names, spec, applications, seed=seed, conditions=conditions(rng))
    members.found()
    crashed: set[Name] = set()

    def pay(name: Name) -> None:
        if name not in crashed:
            members.multicast(name, branches[name].pay(rng.choice(names), rng.randint(1, 9)))

    def ask(name: Name) -> None:
        members.multicast(name, branches[name].ask())

    def crash() -> None:
        crashed.add(names[-1])
        members.world.crash(names[-1])

    for name in names:
        for _ in range(200):
            members.world.schedule(rng.randrange(2 * SECOND), pay, name)
    for _ in range(QUESTIONS):
        members.world.schedule(rng.randrange(2 * SECOND), ask, rng.choice(names[:2]))
    if len(names) > 2 and rng.random() < 0.5:
        members.world.schedule(rng.randrange(2 * SECOND), crash)
    members.world.run_for(6 * SECOND)
    assert not members.world.failures, members.world.failures
    payments = {name: tuple(branch.sent) for name, branch in branches.items()}
    results = [result for name in names[:2] for _, result in branches[name].asking.results]
    cuts = [Cut(0, result, payments) for result in results if isinstance(result, GlobalState)]
    return Run(cuts, len(results) - len(cuts), None if crashed else START * len(names))


@pytest.mark.parametrize("seed", range(12))
def test_every_question_is_answered_consistently_or_not_at_all(seed: int) -> None:
    run = audit(seed)
    assert run.wrong == []
    assert len(run.cuts) + run.void == QUESTIONS
    assert run.void == 0 or run.money is None, "only a view change spoils a snapshot"


def test_without_channels_the_oracle_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Recording, "add", lambda *_: None)
    assert audit(0).wrong
