"""Virtual synchrony, executed; and with rules taken out of the product's view change, which the tables must show."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from phalanx.check.groups import check_groups
from phalanx.group import regroup
from phalanx.group.acceptor import Acceptor
from phalanx.group.coordinator import Coordinator
from phalanx.group.flush import Attempt
from phalanx.group.messages import Accept, Accepted, Data, Gather, Held
from phalanx.lab.experiments import virtual_synchrony
from phalanx.lab.experiments.virtual_synchrony import NAMES, SPECS, Case, Second, falls
from phalanx.lab.mutants import planted
from phalanx.lab.textbook.flushing import Arrival, Course, Fall, Turn, fail_while_sending
from phalanx.model.history import SawMessage
from phalanx.model.signals import Send
from phalanx.parts.holdback import OnReceipt, Total
from tests.lab.experiments.runs import breaks, failing, short


def case(kind: str, *received: int) -> Case:
    return Case(kind, SPECS[kind], fail_while_sending(NAMES, SPECS[kind], received, max(1, *received)))


def seen_by(course: Course, name: str) -> list[str]:
    return [step.what for step in course.steps if isinstance(step, Turn) and step.at == name]


# --- one failure --------------------------------------------------------------------------------------------------


def test_whoever_lacks_the_message_gets_it_before_the_view_is_decided() -> None:
    """The slides' picture: each unstable message goes to those that are left, then comes the view."""
    course = case("FIFO", 0, 1, 0, 0).course
    assert course.alive == NAMES[:-1]
    arrivals = [step for step in course.steps if isinstance(step, Arrival)]
    copies = {step.target for step in arrivals if isinstance(step.body, Data) and step.source == "P2"}
    assert copies == {"P1", "P3", "P4"}
    assert course.count(Gather) == course.count(Held) == 2, "P1 leads and P2 has it"
    first = next(place for place, step in enumerate(arrivals) if isinstance(step.body, Accepted))
    assert all(place < first for place, step in enumerate(arrivals) if isinstance(step.body, Data))
    assert {tuple(seen_by(course, name)) for name in course.alive} == {("delivers m1", "view 2")}


def test_in_total_order_what_one_lacks_is_delivered_by_nobody() -> None:
    course = case("total", 1, 1, 1, 0).course
    assert {tuple(seen_by(course, name)) for name in course.alive} == {("view 2",)}
    assert course.delivered["P5"] == () and course.count(Gather) == 0


def test_each_member_receives_the_first_few_messages_only() -> None:
    course = case("FIFO", 2, 1, 0, 0).course
    assert {course.delivered[name] for name in NAMES} == {("m1", "m2")}
    assert seen_by(course, "P1")[:2] == ["delivers m1", "delivers m2"]
    assert seen_by(course, "P2")[0] == "delivers m1"
    assert course.count(Data) == 1 + 2 + 2, "P2 lacks one of them, P3 and P4 lack both"


def test_nothing_is_judged_but_what_happened_in_the_run() -> None:
    """The history that the oracle gets has every delivery: without P1's it is not virtually synchronous."""
    course = case("FIFO", 1, 1, 1, 1).course
    assert check_groups(course.history) == []
    delivery = next(
        e for e in course.history if isinstance(e, SawMessage) and (e.process.name, e.payload) == ("P1", b"m1")
    )
    found = check_groups([event for event in course.history if event is not delivery])
    assert "virtual_synchrony" in {violation.property for violation in found}


def test_the_leader_falls_at_every_moment_of_the_view_change() -> None:
    seconds = list(falls("FIFO"))
    assert [second.after for second in seconds] == list(range(len(seconds)))
    assert all(second.course.alive == ("P2", "P3", "P4") for second in seconds)
    assert {len(second.delivered) for second in seconds} == {1}
    assert {second.course.view.id for second in seconds if second.course.view} == {2, 3}


def test_a_member_that_falls_gets_what_came_before_and_nothing_more() -> None:
    course = fail_while_sending(NAMES, SPECS["total"], (1, 0, 0, 0), 1, Fall("P2", 0))
    assert course.alive == ("P1", "P3", "P4") and seen_by(course, "P2") == []


# --- with rules taken out -----------------------------------------------------------------------------------------


@breaks("virtual-synchrony", "total: what not all of them received, nobody delivers")
def test_a_cut_that_keeps_what_one_has_received_is_not_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regroup, "min", max, raising=False)
    assert failing(virtual_synchrony.case_claims([case("total", 1, 0, 0, 0)])) == [
        "total: what not all of them received, nobody delivers"
    ]


@breaks(
    "virtual-synchrony",
    "FIFO: what one of them received, all deliver",
    "all that live deliver the same before they install the view",
)
def test_a_cut_that_keeps_what_all_have_received_loses_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """P2 has delivered m1, which the others never do: it cannot go on with them."""
    monkeypatch.setattr(regroup, "max", min, raising=False)
    found = failing(virtual_synchrony.case_claims([case("FIFO", 0, 1, 0, 0)]))
    assert "all that live deliver the same before they install the view" in found


@breaks(
    "virtual-synchrony",
    "FIFO: what one of them received, all deliver",
    "all that live deliver the same before they install the view",
)
def test_without_gathering_the_view_change_does_not_end() -> None:
    """DESIGN 13.1, fetch before you propose.  (Nobody accepts a cut that it does not hold: else m1 could be lost.)"""
    with planted("it accepts without gathering"):
        found = failing(virtual_synchrony.case_claims([case("FIFO", 1, 0, 0, 0)]))
    assert "all that live deliver the same before they install the view" in found


@breaks(
    "virtual-synchrony", "every member tells every other that it has accepted: n (n-1), as the slides' flush messages"
)
def test_members_that_tell_only_the_leader_what_they_accepted_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Acceptor._accept

    def quietly(self: Acceptor, message: Accept) -> None:
        sends = len(self.core.out.sends)
        accept(self, message)
        told = self.core.out.sends[sends:]
        self.core.out.sends[sends:] = [Send([message.ballot.name], send.message) for send in told]

    assert failing(virtual_synchrony.count_claims([virtual_synchrony.lead(4)])) == []
    monkeypatch.setattr(Acceptor, "_accept", quietly)
    (claim,) = failing(virtual_synchrony.count_claims([virtual_synchrony.lead(4)]))
    assert claim.startswith("every member tells every other")


def test_the_figure_ends_when_all_have_installed_the_view() -> None:
    figure = short("virtual-synchrony").figures["synchrony-flush"]
    texts = [getattr(event, "text", "") for event in figure.events]  # type: ignore[union-attr]  # it has messages
    assert texts.count("view 2") == 4 and texts[-1] == "view 2"


ORACLE = "the oracle of group histories finds nothing wrong"


@breaks("virtual-synchrony", "total order: not even P5 had delivered more (uniform)", ORACLE)
def test_total_order_on_receipt_lets_whoever_fails_deliver_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Total[Any], stable: Sequence[int], *_: Any) -> list[Any]:
        return self.rest([1 << 62] * len(stable))

    def found() -> list[str]:
        return failing(virtual_synchrony.case_claims([case("total", 0, 0, 0, 0), case("total", 1, 0, 0, 0)]))

    assert found() == []
    monkeypatch.setattr(Total, "ready", at_once)
    assert "total order: not even P5 had delivered more (uniform)" in found()


@breaks("virtual-synchrony", "whenever P1 falls as well, the others agree", "and the oracle finds nothing wrong")
def test_members_of_which_every_other_ignores_the_cut_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """They install the view without the rest of what it has decided on."""
    rest, asked = OnReceipt.rest, itertools.count()

    def found() -> list[str]:
        courses = [fail_while_sending(NAMES, SPECS["FIFO"], (1, 0, 0, 0), 1, Fall("P1", after)) for after in (7, 13)]
        return failing(virtual_synchrony.second_claims([Second("FIFO", 0, course) for course in courses]))

    assert found() == []
    monkeypatch.setattr(OnReceipt, "rest", lambda self, upto: rest(self, upto) if next(asked) % 2 else [])
    assert len(found()) == 2


@breaks("virtual-synchrony", "before that the leader asks, hears and proposes: 3 (n-1)")
def test_a_leader_that_asks_twice_changes_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Coordinator._ask

    def twice(self: Coordinator, attempt: Attempt) -> None:
        ask(self, attempt)
        ask(self, attempt)

    monkeypatch.setattr(Coordinator, "_ask", twice)
    assert "before that the leader asks, hears and proposes: 3 (n-1)" in failing(
        virtual_synchrony.count_claims([virtual_synchrony.lead(4)])
    )
