"""`phalanx.testing.simulate` with `durable=True`: power cuts of all nodes, torn writes, bad disks, restarts from logs."""

from typing import Any

import pytest

from phalanx.group.channel import Channel
from phalanx.group.messages import Data
from phalanx.replication.audit import Audit
from phalanx.replication.saving import Counters, Restoration
from phalanx.replication.upgrading import Pending
from phalanx.sim.run import Result
from phalanx.testing import simulate, simulation
from tests.testing import subjects
from tests.testing.subjects import Bank, Limiter, Shop


def found(cls: type[Any], **options: Any) -> set[str]:
    """What a cluster shows of it."""
    return {each.kind for each in simulate(cls, check=False, **options).findings if each.seed is not None}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shrinking, which takes the most time."""

    def unshrunk(_: Any, result: Result) -> Result:
        return result

    monkeypatch.setattr(simulation._Simulation, "_smaller", unshrunk)


@pytest.mark.parametrize("cls", [Bank, Shop], ids=["Bank", "Shop"])
def test_classes_that_are_fit_pass_whatever_happens_to_power_and_disks(cls: type[Any]) -> None:
    """SCENARIOS 1, 3, 5, 6."""
    report = simulate(cls, durable=True, seeds=15)
    assert report.ok and report.undecided == 0 and not report.skipped
    seen = report.coverage
    assert seen["sim.power off"] > 50 and seen["log.shortened"] > 50, "or it would show nothing"
    assert seen["sim.bit rot"] and seen["sim.disk unreadable"] and seen["gateway.restored"]
    assert not seen["sim.state_lost"]


def test_a_state_that_does_not_survive_a_restart_is_found_even_on_one_node() -> None:
    """SCENARIOS 35.  In memory a lone node has nothing to restore, and nothing to be compared with."""
    assert not found(subjects.Forgetful, nodes=1, seeds=20)
    assert found(subjects.Forgetful, nodes=1, seeds=20, durable=True) == {"divergence"}


def test_a_field_that_a_snapshot_leaves_out_is_found_by_restarts_if_by_nothing_else() -> None:
    """The class passes alone, and on a lone node in memory."""
    assert simulate(Limiter, nodes=1, seeds=20).ok
    [finding] = simulate(Limiter, durable=True, nodes=1, seeds=40, check=False).findings
    assert (
        finding.kind == "divergence"
        and "ask() was answered differently when n0 ran it again, restarted from its log" in finding.text
    )


def test_what_is_found_can_be_replayed() -> None:
    report = simulate(Limiter, durable=True, seeds=40, check=False)
    [finding] = report.findings
    assert finding.plan is not None
    assert f"simulate(Limiter, durable=True, plan={finding.plan!r})" in str(report)
    [again] = simulate(Limiter, durable=True, plan=finding.plan, check=False).findings
    assert again == finding


def test_the_same_seeds_make_the_same_report() -> None:
    texts = [str(simulate(Bank, durable=True, seeds=[4, 9], check=False)) for _ in range(2)]
    assert texts[0] == texts[1]


def test_answers_before_they_are_on_disk_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCENARIOS 3: the planted bug of the log; the judge is not blind."""
    take = Channel._take

    def hurried(channel: Channel, data: Data) -> None:
        take(channel, data)
        channel.settle(data)

    monkeypatch.setattr(Channel, "_take", hurried)
    assert found(Bank, durable=True, seeds=range(100, 250)), "104 shows it"


def test_a_replica_that_begins_anew_after_a_restart_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: what the log holds is not given to the object."""

    finish = Restoration.finish

    def emptied(restoration: Restoration[Any]) -> tuple[Counters, Audit, Pending | None]:
        found = finish(restoration)
        restoration.object = restoration.kind.state.create()
        return found

    monkeypatch.setattr(Restoration, "finish", emptied)
    assert found(Bank, durable=True, seeds=40)
