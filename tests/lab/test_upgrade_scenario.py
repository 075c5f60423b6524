"""Rolling upgrades of a replicated object in the simulator: clean as they are, and not with a rule taken out."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from phalanx.lab.objects import ObjectScenario
from phalanx.lab.service import Texts
from phalanx.lab.upgrading import UpgradeScenario
from phalanx.model.events import Delivered
from phalanx.model.replicated import version
from phalanx.replication.entries import Converted
from phalanx.replication.inflight import UpgradeFailed
from phalanx.replication.replica import Replica
from phalanx.replication.rollout import Rollout
from phalanx.replication.upgrading import AGREED, Pending
from phalanx.replication.versions import founded_with
from phalanx.sim.run import run_seed

SEEDS_MAX = 40
"""Within which a planted bug must have been found."""


class InMemory(UpgradeScenario):
    """The same of an object that its hosts do not keep on disks."""

    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.swarm = ObjectScenario.swarm


@version(2, replaces=Texts)
class Dicey(Texts):
    """Its conversion is not deterministic."""

    luck: float = 0.0

    def upgrade(self, former: Texts) -> None:
        self.texts = former.texts
        self.luck = random.random()


class Undecided(UpgradeScenario):
    """Nodes get a class whose conversion comes to another state at each of them: the group has to stay as it is."""

    versions = (Texts, Dicey, Dicey)
    failures = 0

    def is_there(self, replica: Replica[Any]) -> bool:
        return len(replica.group.hosts) == 1 or replica.kind.version == founded_with(replica.group.spec)

    def build(self) -> None:
        super().build()
        self.last = min(self.last, 2)

    def upgrade_failed(self, failed: UpgradeFailed) -> None:
        assert "is not deterministic" in failed.reason
        type(self).failures += 1


@pytest.mark.parametrize("seed", [*range(12), 94000051])
def test_all_come_to_the_new_version_and_nothing_is_lost(seed: int) -> None:
    result = run_seed(UpgradeScenario, seed)
    assert result.ok, str(result)


@pytest.mark.parametrize("seed", range(6))
def test_so_does_an_object_that_lives_in_memory(seed: int) -> None:
    result = run_seed(InMemory, seed)
    assert result.ok, str(result)


def test_the_scenario_reaches_what_it_is_for() -> None:
    """Upgrades that are cut short, that are read again from logs, and nodes that come back with former code."""
    seen: set[str] = set()
    for seed in (3, 6, 37):
        seen |= run_seed(UpgradeScenario, seed).notes.keys()
    wanted = {"upgraded", "upgrade_void", "upgrade_replayed", "version_refused", "restored"}
    assert seen >= {f"gateway.{note}" for note in wanted}


def test_a_conversion_that_is_not_deterministic_does_not_part_the_replicas() -> None:
    Undecided.failures = 0
    for seed in range(6):
        result = run_seed(Undecided, seed)
        assert result.ok, str(result)
    assert Undecided.failures


# --- planted bugs -------------------------------------------------------------------------------------------------


def without_comparing(monkeypatch: pytest.MonkeyPatch) -> type[UpgradeScenario]:
    """The digest of each host is taken for right."""

    def hear(pending: Pending, host: str, converted: Converted) -> str | None:
        pending.heard[host] = converted.digest
        return AGREED

    monkeypatch.setattr(Pending, "_hear", hear)
    return Undecided


def without_holding(monkeypatch: pytest.MonkeyPatch) -> type[UpgradeScenario]:
    """Commands that come while the hosts convert are run on the former state."""
    hold = Pending.hold
    deliver = Replica.deliver

    def forgetful(replica: Replica[Texts], delivered: Delivered) -> list[object]:
        pending = replica._pending
        if pending is None or delivered.view != pending.upgrade.view:
            return deliver(replica, delivered)  # type: ignore[return-value]  # actions are objects
        actions: list[object] = list(replica._apply(delivered))
        end = hold(pending, delivered)
        pending.held.clear()
        return [*actions, *replica._conclude(end[0])] if end is not None else actions

    monkeypatch.setattr(Replica, "deliver", forgetful)
    return UpgradeScenario


def without_asking(monkeypatch: pytest.MonkeyPatch) -> type[UpgradeScenario]:
    """The eldest takes it that all can run what it can."""

    def target(_: Rollout, replica: Replica[Texts]) -> int:
        return replica.newest.version

    monkeypatch.setattr(Rollout, "_target", target)
    return UpgradeScenario


@pytest.mark.parametrize("plant", [without_comparing, without_holding, without_asking])
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], type[UpgradeScenario]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = plant(monkeypatch)
    assert any(not run_seed(scenario, seed).ok for seed in range(SEEDS_MAX))
