"""Total restarts in the middle of which somebody dies, or a stranger comes (SCENARIOS 9; DESIGN section 8)."""

import pytest

from phalanx.group.messages import Data
from phalanx.lab.mutants import planted
from tests.group.cluster import Cluster
from tests.group.durables import D, power_cut, sent


def restart_with_a_death(dying: str, steps: int) -> str:
    """All lose power, with logs that differ in their last message; all come back, and one who was never there with them;
    one dies after so many steps.  Returns the last of these ("" if it lived on)."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "everywhere")
        lost = cluster.drop(Data, source="b", target="c")
        cluster.send("b", "on two of three")
        cluster.run(0.02)
        assert not any("on two of three" in cluster.deliveries(name) for name in "abc")
        power_cut(cluster, "abc")
        lost.lift()
        died = cluster.crash_after(dying, steps)
        cluster.restart(*"abc")
        cluster.join("z")
        cluster.run(0.4)
        if died():  # the others are a quorum, and one of them has what the dead had
            survivors = "".join(name for name in "abc" if name != dying)
            cluster.until(lambda: set(survivors) <= set(cluster.members(survivors[0])), "the others' view")
            assert dying not in cluster.members(survivors[0])
        step = died()
        cluster.spare()
        cluster.restart(dying)
        cluster.converge("abcz")
        for name in "abcz":
            assert cluster.deliveries(name)[:2] == ["everywhere", "on two of three"]
        return step


@pytest.mark.parametrize("dying", "abc")
def test_anyone_may_die_after_any_single_step_of_a_total_restart_in_which_another_comes(dying: str) -> None:
    """SCENARIOS 9."""
    died: list[str] = []
    while (step := restart_with_a_death(dying, len(died) + 1)) and len(died) < 60:
        died.append(step)
    assert len(died) >= 8, "or it would show nothing"


def test_a_group_that_comes_back_with_less_is_seen() -> None:
    with planted("a log of an older view is taken for the group's"), pytest.raises(AssertionError):
        for steps in range(1, 20):
            restart_with_a_death("c", steps)
