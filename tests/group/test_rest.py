"""A view at rest skips rules that would do nothing, and groups for which nothing has come: with and without that, a run
is the same to the last step."""

import pytest

from phalanx.group.config import Timing
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ack, Data
from phalanx.group.multicast import Multicasting
from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.model.clock import SECOND
from phalanx.model.view import GroupSpec, Name
from phalanx.sim.run import Scenario, run_seed
from tests.group.cluster import Cluster, G

SEEDS = range(15)


@pytest.mark.parametrize("scenario", [GroupScenario, DurableScenario])
@pytest.mark.parametrize("first", SEEDS[::5])
def test_a_run_is_the_same_if_every_rule_is_run_in_every_step(
    first: int, scenario: type[Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GroupMachine, "can_wait", lambda *_: False)  # else messages wait only in views at rest
    seeds = range(first, first + 5)
    brief = [run_seed(scenario, seed, trace=True) for seed in seeds]
    rest = GroupMachine._rest
    skipped = 0

    def never_rest(self: GroupMachine) -> None:
        nonlocal skipped
        rest(self)
        skipped += self._rest_until > 0
        self._rest_until = 0

    monkeypatch.setattr(GroupMachine, "_rest", never_rest)
    full = [run_seed(scenario, seed, trace=True) for seed in seeds]
    assert [result.trace for result in brief] == [result.trace for result in full]
    assert brief == full
    assert skipped > 100, "these runs have views at rest"


def test_a_group_that_is_not_looked_at_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is how the test above fails: acknowledgements come, and no rule looks at their group in that turn."""
    as_it_is = run_seed(GroupScenario, 0, trace=True)
    on_ack = Multicasting.on_ack

    def unseen(self: Multicasting, sender: Name, ack: Ack) -> None:
        on_ack(self, sender, ack)
        self.core.touched.pop(ack.group, None)

    monkeypatch.setattr(Multicasting, "on_ack", unseen)
    assert run_seed(GroupScenario, 0, trace=True).trace != as_it_is.trace


def test_lag_is_judged_in_every_group_when_it_becomes_too_long() -> None:
    """Nobody is accused here: two members are too few to go on without one of them."""
    timing = Timing(heartbeat=SECOND, suspect_after=3 * SECOND, resend_after=10 * SECOND)
    with Cluster("ab", G, GroupSpec("h"), timing=timing) as cluster:
        cluster.until_members("ab")
        cluster.run(2)
        core = cluster.machine("a")._core
        cluster.drop(Data, source="a")
        for number in range(6):
            cluster.send("a", f"{number}", group="g" if number < 3 else "h")
            cluster.run(0.02)
        due = [channel.lag_due(timing.demote_after) for channel in core.channels.values()]
        turns: list[int] = []
        cluster.world.stepped = lambda _node, _output: turns.append(core.now.mono)
        cluster.run(0.2)
        assert len(set(due)) == 2 and set(due) <= set(turns)
