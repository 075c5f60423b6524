"""Group calls under every fault: seeds of `phalanx sim --scenario troupes`."""

from typing import Any

import pytest

from phalanx.calls.calling import Calling
from phalanx.calls.messages import Answers, Part
from phalanx.calls.serving import Known, Serving
from phalanx.lab.troupes import TroupeScenario
from phalanx.model.machine import Output
from phalanx.model.view import View
from phalanx.sim.run import run_seed
from phalanx.wire.codec import Codec


@pytest.mark.parametrize("block", range(3))
def test_group_calls_keep_their_promises_in_the_storm(block: int) -> None:
    for seed in range(block * 12, block * 12 + 12):
        result = run_seed(TroupeScenario, seed)
        assert result.ok, result


FOUND = {
    19: "a program was told of the next view before it was told to execute what belongs to the last",
    224: "a node that had to take a higher incarnation went on calling under the lower one, to which nobody listens",
    265: "a host that was demoted was waited for, though it would never execute the call",
    2222: "in a FIFO group, a call that only a host that failed had received was never executed, and waited for",
    2770: "the same, in a causal group",
    1439: "a host that had answered itself was counted again among those that the tree answers for",
}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_stays_mended(seed: int) -> None:
    result = run_seed(TroupeScenario, seed)
    assert result.ok, f"{FOUND[seed]}: {result}"


def kinds(seed: int) -> frozenset[str]:
    return run_seed(TroupeScenario, seed).kinds


def test_the_scenario_notices_hosts_that_do_not_know_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Serving.delivered

    def forgetful(self: Serving, message: Any, view: View, out: Output) -> None:
        self._calls.clear()
        delivered(self, message, view, out)

    monkeypatch.setattr(Serving, "delivered", forgetful)
    assert any("judge executed twice" in kinds(seed) for seed in range(20))


def test_the_scenario_notices_new_hosts_that_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They execute a late copy that nobody else does."""
    empty = Codec[Any](Known).encode(Known([], []))
    monkeypatch.setattr(Serving, "snapshot", lambda _: empty)
    assert any("judge total order" in kinds(seed) for seed in range(100))


def test_the_scenario_notices_callers_that_wait_for_those_who_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = Calling.answered

    def deaf(self: Calling, sender: Any, answers: Answers) -> None:
        if answers.singles or answers.part is Part.WHOLE:
            answered(self, sender, answers)

    monkeypatch.setattr(Calling, "answered", deaf)
    monkeypatch.setattr(Calling, "_narrow", lambda *_: None)
    assert any("judge settled" in kinds(seed) for seed in range(50))


def test_the_scenario_notices_answers_that_are_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = Calling.answered

    def lying(self: Calling, sender: Any, answers: Answers) -> None:
        names = tuple((f"not {name}", outcome) for name, outcome in answers.singles)
        made_up = Answers(answers.group, answers.id, answers.part, names, answers.value, answers.combined)
        answered(self, sender, made_up)

    monkeypatch.setattr(Calling, "answered", lying)
    assert any("judge answers" in kinds(seed) for seed in range(20))
