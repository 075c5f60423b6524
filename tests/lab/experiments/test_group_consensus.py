"""Consensus by a group, executed; and with rules taken out of the group's order and of its quorum."""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pytest

from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ack, Data, Row
from phalanx.lab.experiments import group_consensus
from phalanx.lab.experiments.group_consensus import FIVE, THREE, TOTAL, WAYS, crashes, survive
from phalanx.lab.figures.model import Matrix
from phalanx.lab.textbook import proposing
from phalanx.lab.textbook.consensus import Rotating
from phalanx.lab.textbook.proposing import Crash, decide
from phalanx.model.clock import SECOND, Instant
from phalanx.model.machine import Output, Send
from phalanx.model.view import View
from phalanx.parts import quorum
from phalanx.parts.holdback import Causal, Holdback, OnReceipt, Total
from tests.lab.experiments.runs import breaks, failing, short


def crash_claims(*ways: str) -> list[str]:
    """The claims that do not hold, each named by its way."""
    survived = {way: [survive(way, count) for count in range(len(FIVE))] for way in ways or WAYS}
    return [text.partition(": those")[0] for text in failing(group_consensus.crash_claims(survived))]


@breaks(
    "group-consensus",
    "in total order nobody decides what another does not, not even one that crashes, or what nobody proposed",
    "some crash before they have decided, some after",
)
def test_what_is_delivered_on_receipt_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Total order without its rule: nobody waits until no earlier message can come."""

    def at_once(self: Total[Any], stable: Sequence[int], *_: Any) -> list[Any]:
        return self.rest([1 << 62] * len(stable))

    assert decide(TOTAL, THREE, (0, 1, 2)).agrees
    monkeypatch.setattr(Total, "ready", at_once)
    found = decide(TOTAL, THREE, (0, 1, 2))
    assert len(set(found.decided.values())) > 1
    for runs in ([found], list(crashes((0, 1, 1), "P1"))):
        assert failing(group_consensus.decision_claims(runs))


@breaks("group-consensus", "group: one by one, the * first: those that are left decide after * crashes at most")
def test_a_quorum_that_does_not_shrink_ends_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A majority of all five, whoever is in the view: as Chandra and Toueg's."""

    def fixed(_: View, names: Collection[str]) -> bool:
        return 2 * len(set(names)) > len(FIVE)

    replace_quorum(monkeypatch, fixed)
    assert crash_claims() == list(WAYS[:2])


@breaks(
    "group-consensus", "Chandra and Toueg: the first coordinators: those that are left decide after * crashes at most"
)
def test_a_coordinator_that_waits_for_all_ends_at_the_first_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Rotating.__init__

    def unanimous(self: Rotating, me: str, processes: Sequence[str], proposal: int) -> None:
        begin(self, me, processes, proposal)
        self._majority = len(processes)

    assert crash_claims(WAYS[-1]) == []
    monkeypatch.setattr(Rotating, "__init__", unanimous)
    assert crash_claims(WAYS[-1]) == [WAYS[-1]]


@breaks("group-consensus", "each that got it tells each other that it did: (n - 1)^2")
def test_acknowledgements_that_go_twice_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    step = GroupMachine.step

    def twice(self: GroupMachine, events: Iterable[Any], now: Instant) -> Output:
        out = step(self, events, now)
        for sends in (out.eager, out.sends):
            sends += [Send(send.to, send.message) for send in sends if isinstance(send.message.body, Ack | Row)]
        return out

    def found() -> list[str]:
        return failing(group_consensus.count_claims([decide(TOTAL, THREE, (7, None, None))]))

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


def replace_quorum(monkeypatch: pytest.MonkeyPatch, rule: Callable[[View, Collection[str]], bool]) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("phalanx.group") and getattr(module, "is_quorum", None) is quorum.is_quorum:
            monkeypatch.setattr(module, "is_quorum", rule)


@breaks("group-consensus", "group: at once, the *: those that are left decide after * crashes at most")
def test_a_quorum_of_two_goes_on_after_more_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And could be two quorums, if the network were split: see split-brain."""
    replace_quorum(monkeypatch, lambda view, names: len(set(names)) >= (2 if view.id else len(view.members)))
    assert crash_claims(*WAYS[2:4]) == list(WAYS[2:4])


@breaks("group-consensus", "all that live decide")
def test_a_view_change_that_wants_all_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[str]:
        return failing(group_consensus.decision_claims([decide(TOTAL, THREE, (0, 1, 1), crash=Crash("P3", 0))]))

    monkeypatch.setattr(proposing, "PATIENCE_NS", SECOND // 5)
    assert "all that live decide" not in found()
    replace_quorum(monkeypatch, lambda view, names: len(set(names)) >= len(view.members))
    assert "all that live decide" in found()


@breaks("group-consensus", "in the other orders they disagree")
def test_proposals_that_wait_for_each_other_agree_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that waits until all have proposed, and takes the first member's first: total order of the poor."""
    for order in (OnReceipt, Causal):
        monkeypatch.setattr(order, "ready", _all_or_nothing)
    weaker = {spec.order.value: decide(spec, THREE, (0, 1, 2)) for spec in group_consensus.WEAKER}
    assert failing(group_consensus.order_claims(weaker)) == ["in the other orders they disagree"]


def _all_or_nothing(self: Holdback[Any], *_: Any) -> list[Any]:
    taken: list[Any] = []
    while all(self.pending):
        for queue in self.pending:
            self._take(queue, taken)
    return taken


@breaks("group-consensus", "n - 1 messages carry a proposal")
def test_proposals_that_go_twice_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    step = GroupMachine.step

    def twice(self: GroupMachine, events: Iterable[Any], now: Instant) -> Output:
        out = step(self, events, now)
        for sends in (out.eager, out.sends):
            sends += [Send(send.to, send.message) for send in sends if isinstance(send.message.body, Data)]
        return out

    monkeypatch.setattr(GroupMachine, "step", twice)
    found = failing(group_consensus.count_claims([decide(TOTAL, THREE, (7, None, None))]))
    assert found == ["n - 1 messages carry a proposal"]
