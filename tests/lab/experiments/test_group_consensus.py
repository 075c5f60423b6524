"""Consensus by a group, executed; and with rules taken out of the group's order and of its quorum."""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest

from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ack, Row
from phalanx.lab.experiments import group_consensus
from phalanx.lab.experiments.group_consensus import FIVE, THREE, TOTAL, WAYS, crashes, survive
from phalanx.lab.experiments.result import Claim
from phalanx.lab.figures.model import Matrix
from phalanx.lab.textbook.consensus import Rotating
from phalanx.lab.textbook.proposing import Crash, decide
from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Send
from phalanx.model.view import View
from phalanx.parts import quorum
from phalanx.parts.holdback import Total
from tests.lab.experiments.runs import short


def wrong(claims: Iterable[Claim]) -> list[str]:
    return [claim.text for claim in claims if not claim.holds]


def crash_claims() -> list[str]:
    """The claims that do not hold, each named by its way."""
    survived = {way: [survive(way, count) for count in range(len(FIVE))] for way in WAYS}
    return [text.partition(": those")[0] for text in wrong(group_consensus.crash_claims(survived))]


def test_what_is_delivered_on_receipt_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Total order without its rule: nobody waits until no earlier message can come."""

    def at_once(self: Total[Any], stable: Sequence[int], *_: Any) -> list[Any]:
        return self.rest([1 << 62] * len(stable))

    assert decide(TOTAL, THREE, (0, 1, 2)).agrees
    monkeypatch.setattr(Total, "ready", at_once)
    found = decide(TOTAL, THREE, (0, 1, 2))
    assert len(set(found.decided.values())) > 1
    assert any(
        "nobody decides what another does not" in text for text in wrong(group_consensus.decision_claims([found]))
    )


def test_a_quorum_that_does_not_shrink_ends_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A majority of all five, whoever is in the view: as Chandra and Toueg's."""

    def fixed(_: View, names: Collection[str]) -> bool:
        return 2 * len(set(names)) > len(FIVE)

    for name, module in list(sys.modules.items()):
        if name.startswith("phalanx.group") and getattr(module, "is_quorum", None) is quorum.is_quorum:
            monkeypatch.setattr(module, "is_quorum", fixed)
    assert crash_claims() == list(WAYS[:2])


def test_a_coordinator_that_waits_for_all_ends_at_the_first_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Rotating.__init__

    def unanimous(self: Rotating, me: str, processes: Sequence[str], proposal: int) -> None:
        begin(self, me, processes, proposal)
        self._majority = len(processes)

    assert survive(WAYS[-1], 1)
    monkeypatch.setattr(Rotating, "__init__", unanimous)
    assert not survive(WAYS[-1], 1)


def test_acknowledgements_that_go_twice_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    step = GroupMachine.step

    def twice(self: GroupMachine, events: Iterable[Any], now: Instant) -> Output:
        out = step(self, events, now)
        for sends in (out.eager, out.sends):
            sends += [Send(send.to, send.message) for send in sends if isinstance(send.message.body, Ack | Row)]
        return out

    def found() -> list[str]:
        return wrong(group_consensus.count_claims([decide(TOTAL, THREE, (7, None, None))]))

    assert found() == []
    monkeypatch.setattr(GroupMachine, "step", twice)
    assert found() == ["each that got it tells each other that it did: (n - 1)^2"]


def test_a_member_that_crashes_crashes_within_the_decision() -> None:
    early, late = decide(TOTAL, THREE, (0, 1, 1), crash=Crash("P1", 0)), list(crashes((0, 1, 1), "P1"))[-1]
    assert early.crashed and "P1" not in early.decided and early.alive == ("P2", "P3")
    assert late.crashed and "P1" in late.decided
    assert not decide(TOTAL, THREE, (0, 1, 1), crash=Crash("P1", 10_000)).crashed


def test_the_figure_has_a_row_for_each_way_and_a_column_for_each_number_of_crashes() -> None:
    figure = short("group-consensus").figures["consensus-crashes"]
    assert isinstance(figure, Matrix)
    assert [row for row, _ in figure.rows] == list(WAYS) and len(figure.columns) == len(FIVE)
