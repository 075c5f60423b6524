"""Lamport, Shostak, Pease 1982, executed; and with rules taken out, which the tables must show."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from phalanx.lab.experiments import byzantine_generals
from phalanx.lab.experiments.byzantine_generals import SHORT, Siege, four_phases, lay
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
from tests.lab.experiments.runs import breaks, failing, short

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


@breaks("byzantine-generals", "OM(*) with * generals, * traitor*: the conditions hold")
def test_without_majorities_four_generals_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(self: OralGeneral, path: Path) -> Value:
        return self._heard.get(path, R)

    monkeypatch.setattr(OralGeneral, "_fold", believe)
    assert any("OM(1) with 4 generals" in text for text in claims_that_fail())


@breaks("byzantine-generals", "SM(*) with * generals, * traitor*: the conditions hold")
def test_without_the_check_of_signatures_traitors_forge_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed, "is_genuine", lambda _: True)
    assert any("SM(1) with 3 generals" in text for text in claims_that_fail())


@breaks("byzantine-generals", "SM(*) with * generals, * traitor*: the conditions hold")
def test_if_late_orders_count_traitors_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """One signature in the last round: the receiver would be the only one that knows the order."""

    def at_any_time(self: SignedGeneral, source: Name, order: Signed) -> bool:
        return order.signers[-1] == source and self._me not in order.signers and is_genuine(order)

    monkeypatch.setattr(SignedGeneral, "_is_due", at_any_time)
    assert any("SM(1) with 3 generals" in text for text in claims_that_fail())


@breaks("byzantine-generals", "SM(*) with * generals, * traitor*: the conditions hold", "SM sends (n-1)^2 messages")
def test_if_orders_are_not_passed_on_signed_messages_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    passing_on = SignedGeneral._pass_on

    def commander_only(self: SignedGeneral, out: Output, order: Signed) -> None:
        if not order.chain:
            passing_on(self, out, order)

    monkeypatch.setattr(SignedGeneral, "_pass_on", commander_only)
    wrong = claims_that_fail()
    assert any("SM(1) with 3 generals" in text for text in wrong)
    assert any("SM sends" in text for text in wrong)


@breaks("byzantine-generals", "OM sends sum of (n-1)...(n-k) for k = 1 ... m+1 messages")
def test_messages_that_nobody_needs_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def to_all(self: OralGeneral, out: Output, path: Path, value: Value) -> None:
        out.sends.append(Send([name for name in self._generals if name != self._me], Oral(path, value)))

    monkeypatch.setattr(OralGeneral, "_tell", to_all)
    assert claims_that_fail() == ["OM sends sum of (n-1)...(n-k) for k = 1 ... m+1 messages"]


@breaks("byzantine-generals", "four phases, 4 processes, 1 traitor: correct processes learn each other's true values")
def test_a_vector_believed_without_majority_breaks_the_four_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_word(self: VectorProcess, index: int) -> int:
        vectors: Sequence[tuple[int, ...]] = list(self._vectors.values())
        return vectors[-1][index] if vectors else 0

    monkeypatch.setattr(VectorProcess, "_common", last_word)
    assert four_phases(4).wrong
    assert any("four phases, 4 processes" in text for text in claims_that_fail())


def sieges(algorithm: str) -> list[str]:
    """The claims on the sieges of the short form that do not hold now, for one algorithm."""
    outcomes = [lay(siege) for siege in SHORT if siege.algorithm == algorithm]
    return failing(byzantine_generals.siege_claims(outcomes))


@breaks("byzantine-generals", "OM(*) with * generals, * traitor*: the conditions can be broken")
def test_generals_who_believe_nothing_that_is_not_signed_are_not_broken_by_what_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three and six bear one and two traitors that can sign nothing: signatures are what moves the bound."""
    assert sieges("OM") == []
    monkeypatch.setitem(byzantine_generals.ALGORITHMS, "OM", SignedGeneral)
    assert [text.partition(",")[0] for text in sieges("OM")] == ["OM(1) with 3 generals", "OM(2) with 6 generals"]


@breaks("byzantine-generals", "SM(*) with * generals, * traitors: the conditions can be broken")
def test_one_round_more_bears_one_traitor_more(monkeypatch: pytest.MonkeyPatch) -> None:
    make = SignedGeneral.__init__

    def longer(self: SignedGeneral, me: Name, generals: Any, commander: Name, m: int, order: Value | None) -> None:
        make(self, me, generals, commander, m + 1, order)

    monkeypatch.setattr(SignedGeneral, "__init__", longer)
    assert failing(byzantine_generals.siege_claims([lay(SHORT[-1])])) == [
        "SM(1) with 4 generals, 2 traitors: the conditions can be broken"
    ]


@breaks("byzantine-generals", "OM(*) with * generals, * traitor*: the conditions hold")
def test_oral_generals_that_stop_one_round_early_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    make = OralGeneral.__init__

    def shorter(self: OralGeneral, me: Name, generals: Any, commander: Name, m: int, order: Value | None) -> None:
        make(self, me, generals, commander, m - 1, order)

    monkeypatch.setattr(OralGeneral, "__init__", shorter)
    assert "OM(1) with 4 generals, 1 traitor: the conditions hold" in sieges("OM")


@breaks("byzantine-generals", "four phases, 3 processes, 1 traitor: *")
def test_processes_that_believe_what_each_says_of_itself_learn_all_true_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no vectors for that; they are for agreement on a traitor's value, which the slides do not promise."""
    monkeypatch.setattr(VectorProcess, "_common", lambda self, at: self._told.get(self._processes[at], 0))
    (wrong,) = failing(byzantine_generals.vector_claims([four_phases(n) for n in (3, 4)]))
    assert wrong.startswith("four phases, 3 processes")


@breaks("byzantine-generals", "four phases, 4 processes: no more than that; on the traitor's own value they may differ")
def test_a_vote_without_the_word_of_whom_it_is_about_makes_them_agree_on_the_traitor_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each process' value as OM(1) with that process as commander: what it said to each, and not what it says later."""

    def as_oral(self: VectorProcess, index: int) -> int:
        of = self._processes[index]
        said = [self._told.get(of, 0)]
        said += [vector[index] for name, vector in self._vectors.items() if name != of]
        value, count = Counter(said).most_common(1)[0]
        return value if 2 * count > len(said) else 0

    monkeypatch.setattr(VectorProcess, "_common", as_oral)
    (wrong,) = failing(byzantine_generals.vector_claims([four_phases(4)]))
    assert wrong.endswith("they may differ")


@breaks("byzantine-generals", "four phases send 2n(n-1) messages")
def test_vectors_for_the_first_two_only_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    act = VectorProcess.act

    def sparing(self: VectorProcess, out: Output) -> None:
        act(self, out)
        out.sends = [Send(list(send.to)[:2], send.message) for send in out.sends]

    monkeypatch.setattr(VectorProcess, "act", sparing)
    assert failing(byzantine_generals.count_claims([*byzantine_generals.count_messages(4)])) == [
        "four phases send 2n(n-1) messages"
    ]
