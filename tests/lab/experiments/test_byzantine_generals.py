"""Lamport, Shostak, Pease 1982, executed; and with rules taken out, which the tables must show."""

from collections.abc import Sequence

import pytest

from phalanx.lab.experiments import byzantine_generals
from phalanx.lab.experiments.byzantine_generals import Siege, four_phases, lay
from phalanx.lab.textbook import signatures, signed
from phalanx.lab.textbook.oral import Oral, OralGeneral, Path, Value, majority, paths
from phalanx.lab.textbook.signed import Signed, SignedGeneral, choice, is_genuine, signed_by
from phalanx.lab.textbook.vectors import VectorProcess
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output, Send
from phalanx.model.view import Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World
from tests.lab.experiments.runs import failing, short

A, R = Value.ATTACK, Value.RETREAT


def claims_that_fail() -> list[str]:
    return failing(byzantine_generals.run(False))


# --- the machines -------------------------------------------------------------------------------------------------


def test_a_tie_is_a_retreat() -> None:
    assert [majority(v) for v in ([A, R], [A, A, R], [R, R, A], [A])] == [R, A, R, A]
    assert [choice(v) for v in ([], [A], [R], [A, R])] == [R, A, R, R]


def test_paths_begin_at_the_commander_and_repeat_nobody() -> None:
    assert list(paths("ABC", "A", 1)) == [("A",)]
    assert list(paths("ABCD", "A", 3)) == [tuple(f"A{x}{y}") for x in "BCD" for y in "BCD" if x != y]


def test_signatures_are_those_of_their_generals() -> None:
    order = signed_by(signed_by(Signed(A, ()), "A"), "B")
    assert is_genuine(order)
    assert not is_genuine(Signed(R, order.chain)), "taken over for another order"
    assert not is_genuine(Signed(A, order.chain[1:])), "without the one before"
    assert not is_genuine(signed_by(Signed(A, ()), "A", key="B")), "forged"


def test_without_the_library_the_experiment_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "MISSING", ImportError("planted"))
    with pytest.raises(ValueError, match=r"pip install 'phalanx\[lab\]'"):
        byzantine_generals.run(False)


@pytest.mark.parametrize("kind", [OralGeneral, SignedGeneral])
def test_the_machines_run_in_the_simulator_as_well(kind: type[OralGeneral | SignedGeneral]) -> None:
    """They are machines of the one contract: here over a network that delays messages, but less than a round."""
    decided: dict[Name, Value] = {}

    def start(setup: Setup) -> Machine:
        return kind(setup.name, "ABCD", "A", 1, A if setup.name == "A" else None)

    def deliver(node: Node, value: Value) -> None:
        decided[node.name] = value

    world = World(1, start, deliver=deliver, conditions=Conditions(stagger_ns=0))
    for name in "ABCD":
        world.add(name)
    world.run_for(10 * MILLISECOND)
    assert not decided
    world.run_for(10 * SECOND)
    assert not world.failures
    assert decided == dict.fromkeys("ABCD", A)


# --- what the paper says ------------------------------------------------------------------------------------------


def test_three_generals_fall_to_one_traitor_and_the_story_tells_how() -> None:
    """Figure 1 of the paper."""
    (told, *_) = short("byzantine-generals").stories
    assert told.lines == (
        "round 1: A tells B: attack!",
        "round 1: A tells C: attack!",
        "round 2: C (traitor) tells B: A said: retreat",
        "B, loyal, decides to retreat",
        "IC2 is broken: the loyal commander ordered to attack",
    )


def test_a_behaviour_is_counted_once_for_each_general_that_can_be_told_apart() -> None:
    """A traitor commander of four tells each of three lieutenants one of three things."""
    outcome = lay(Siege("OM", 4, 1, ("A",)))
    assert outcome.covered == 3**3
    assert outcome.broken is None


# --- without a rule, the table changes ----------------------------------------------------------------------------


def test_without_majorities_four_generals_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(self: OralGeneral, path: Path) -> Value:
        return self._heard.get(path, R)

    monkeypatch.setattr(OralGeneral, "_fold", believe)
    assert any("OM(1) with 4 generals" in text for text in claims_that_fail())


def test_without_the_check_of_signatures_traitors_forge_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed, "is_genuine", lambda _: True)
    assert any("SM(1) with 3 generals" in text for text in claims_that_fail())


def test_if_late_orders_count_traitors_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """One signature in the last round: the receiver would be the only one that knows the order."""

    def at_any_time(self: SignedGeneral, source: Name, order: Signed) -> bool:
        return order.signers[-1] == source and self._me not in order.signers and is_genuine(order)

    monkeypatch.setattr(SignedGeneral, "_is_due", at_any_time)
    assert any("SM(1) with 3 generals" in text for text in claims_that_fail())


def test_if_orders_are_not_passed_on_signed_messages_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    passing_on = SignedGeneral._pass_on

    def commander_only(self: SignedGeneral, out: Output, order: Signed) -> None:
        if not order.chain:
            passing_on(self, out, order)

    monkeypatch.setattr(SignedGeneral, "_pass_on", commander_only)
    wrong = claims_that_fail()
    assert any("SM(1) with 3 generals" in text for text in wrong)
    assert any("SM sends" in text for text in wrong)


def test_messages_that_nobody_needs_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def to_all(self: OralGeneral, out: Output, path: Path, value: Value) -> None:
        out.sends.append(Send([name for name in self._generals if name != self._me], Oral(path, value)))

    monkeypatch.setattr(OralGeneral, "_tell", to_all)
    assert claims_that_fail() == ["OM sends sum of (n-1)...(n-k) for k = 1 ... m+1 messages"]


def test_a_vector_believed_without_majority_breaks_the_four_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_word(self: VectorProcess, index: int) -> int:
        vectors: Sequence[tuple[int, ...]] = list(self._vectors.values())
        return vectors[-1][index] if vectors else 0

    monkeypatch.setattr(VectorProcess, "_common", last_word)
    assert four_phases(4).wrong
    assert any("four phases, 4 processes" in text for text in claims_that_fail())
