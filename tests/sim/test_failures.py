"""Failures of processes by the classes of the literature: each does what its text says, is told by its term, and ends
(sim/failures.py, sim/conduct.py, sim/wrongs.py, sim/taxonomy.py).  Sources: Cristian 1991; Hadzilacos and Toueg 1994."""

import random
from collections.abc import Callable, Iterable
from typing import Any, get_args

import msgspec
import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Output, Received, Refused, Send
from phalanx.sim.conditions import Conditions
from phalanx.sim.failures import (
    Collusion,
    Equivocation,
    FailStop,
    Forgery,
    ReceiveOmission,
    ReceiveOverflow,
    Replay,
    SendOmission,
    SendOverflow,
    Silence,
    SlowProcess,
    StateTransitionFailure,
    ValueFailure,
)
from phalanx.sim.faults import Crash, Fault, Pause, end_ns, victims
from phalanx.sim.node import Node, Setup
from phalanx.sim.plan import Plan
from phalanx.sim.run import Scenario, run
from phalanx.sim.storm import Storm
from phalanx.sim.taxonomy import term
from phalanx.sim.trace import Trace
from phalanx.sim.world import World

NAMES = ["n0", "n1", "n2", "n3"]
T0 = 200 * MILLISECOND
LASTS = 300 * MILLISECOND
TICK = 5 * MILLISECOND


class Said(msgspec.Struct, frozen=True):
    """`n0 7`: the seventh thing that n0 says."""

    by: str
    number: int


class Speaker:
    """Says its count to all others every 5 ms, all of them in one send, and counts up what it is told."""

    def __init__(self, setup: Setup) -> None:
        self.me = setup.name
        self.others = [name for name in NAMES if name != setup.name]
        self.deadline: int | None = setup.now.mono
        self.heard: list[tuple[int, str, Any]] = []
        """When, from whom, what."""
        self.refused: list[str] = []
        self.steps: list[int] = []
        self.count = self.told = 0

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out = Output()
        self.steps.append(now.wall)
        for event in events:
            match event:
                case Received(source, message):
                    self.heard.append((now.wall, source, message))
                case Refused(address):
                    self.refused.append(address)
                case "count":
                    self.told += 1
                case _:
                    pass
        assert self.deadline is not None
        if now.mono >= self.deadline:
            self.deadline = now.mono + TICK
            self.count += 1
            out.eager.append(Send([*self.others, self.me], Said(self.me, self.count)))
        return out


class Stage:
    """Four speakers, and one storm."""

    def __init__(self, *faults: Fault, **how: Any) -> None:
        self.trace = Trace()
        self.world = World(1, Speaker, conditions=Conditions(stagger_ns=0, turn_ns=0), trace=self.trace, **how)
        for name in NAMES:
            self.world.add(name)
        self.storm = Storm(self.world, NAMES, faults)

    def at(self, when_ms: int) -> "Stage":
        self.world.run_until(when_ms * MILLISECOND)
        assert not self.world.failures
        return self

    def speaker(self, node: int) -> Speaker:
        machine = self.world.nodes[NAMES[node]].machine
        assert isinstance(machine, Speaker)
        return machine

    def heard(self, node: int, of: int) -> list[Said]:
        """What the node was told in that one's name."""
        return [message for _, source, message in self.speaker(node).heard if source == NAMES[of]]

    def lost(self, node: int, of: int) -> int:
        """How many of the messages that one sent to the other have not come, but for the last few."""
        numbers = {said.number for said in self.heard(node, of)}
        return len(set(range(1, self.speaker(of).count - 3)) - numbers)

    def told(self, text: str) -> int:
        return sum(f"--- {text} n" in line for line in self.trace.lines)


def pairs(stage: Stage) -> dict[tuple[int, int], int]:
    """(receiver, sender): messages lost, where some are."""
    every = {(i, j): stage.lost(i, j) for i in range(4) for j in range(4) if i != j}
    return {pair: count for pair, count in every.items() if count}


# --- crash --------------------------------------------------------------------------------------------------------


def test_a_fail_stop_process_halts_for_good_and_all_others_are_told_at_once() -> None:
    stage = Stage(FailStop(T0, 0))
    stage.at(201)
    assert stage.world.nodes["n0"].machine is None
    assert [stage.speaker(node).refused[:1] for node in (1, 2, 3)] == [["n0"]] * 3
    stage.storm.heal()
    assert stage.at(400).world.nodes["n0"].machine is None
    assert stage.storm.gone == ["n0"]


# --- omission -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_send_omission_loses_what_one_process_sends_and_nothing_else(share: float) -> None:
    stage = Stage(SendOmission(T0, LASTS, 0, share)).at(800)
    lost = pairs(stage)
    assert set(lost) == {(1, 0), (2, 0), (3, 0)}
    expected = share * LASTS / TICK
    assert all(0.6 * expected <= count <= 1.1 * expected for count in lost.values())
    assert stage.told("send omission") == sum(lost.values())
    assert stage.heard(0, 0)[-1].number > 150, "what it says to itself is not touched"


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_receive_omission_loses_what_one_process_is_sent_and_nothing_else(share: float) -> None:
    stage = Stage(ReceiveOmission(T0, LASTS, 0, share)).at(800)
    lost = pairs(stage)
    assert set(lost) == {(0, 1), (0, 2), (0, 3)}
    assert stage.told("receive omission") == sum(lost.values())


def test_one_omission_after_another_draws_anew() -> None:
    stage = Stage(*(SendOmission(number * LASTS, LASTS - TICK, 0, 0.5) for number in (1, 2))).at(1000)
    each = LASTS // TICK
    lost = set(range(1, stage.speaker(0).count)) - {said.number for said in stage.heard(1, 0)}
    first, second = ({number % each for number in lost if number // each == turn} for turn in (1, 2))
    assert len(first) > 15 and len(second) > 15 and len(first ^ second) > 10


def test_omissions_do_not_break_connections_and_are_told_to_nobody() -> None:
    stage = Stage(SendOmission(T0, LASTS, 0, 1.0), ReceiveOmission(T0, LASTS, 0, 1.0)).at(800)
    assert set(pairs(stage)) == {(0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0)}, "general omission: both at once"
    assert not any(" down n" in line or "refused" in line for line in stage.trace.lines)


def test_an_overflowing_queue_loses_what_does_not_fit_and_delays_the_rest() -> None:
    """Three messages at a time, and one leaves every 4 ms."""
    stage = Stage(SendOverflow(T0, LASTS, 0, 2, 4 * MILLISECOND)).at(800)
    lost = pairs(stage)
    assert set(lost) == {(2, 0), (3, 0)}, "the first of three finds room"
    sent = 3 * LASTS // TICK
    left = LASTS // (4 * MILLISECOND)
    assert abs(sent - left - sum(lost.values())) <= 4
    assert stage.told("send omission (queue overflow)") == sum(lost.values())
    assert all(numbers == sorted(numbers) for numbers in [[s.number for s in stage.heard(n, 0)] for n in (1, 2, 3)])
    assert stage.world.nodes["n0"].conduct is None, "correct again, once all has left"


def test_what_waits_in_an_overflowing_queue_dies_with_its_process() -> None:
    stage = Stage(SendOverflow(T0, LASTS, 0, 1000, 40 * MILLISECOND), Crash(T0 + LASTS, 0, None)).at(2000)
    last = max(said.number for node in (1, 2, 3) for said in stage.heard(node, 0))
    assert last < 60, "what was sent early in the storm was still leaving when the process ended"


def test_an_overflowing_buffer_loses_what_comes_while_too_much_is_unread() -> None:
    """It takes a process that does not read: paused here."""
    stage = Stage(ReceiveOverflow(T0, LASTS, 0, 10), Pause(T0 + 50 * MILLISECOND, 0, 100 * MILLISECOND)).at(800)
    lost = pairs(stage)
    assert set(lost) == {(0, 1), (0, 2), (0, 3)}
    assert abs(sum(lost.values()) - (60 - 10)) <= 3
    assert stage.told("receive omission (buffer overflow)") == sum(lost.values())
    assert not pairs(Stage(ReceiveOverflow(T0, LASTS, 0, 10)).at(800)), "whoever reads in time loses nothing"


# --- timing -------------------------------------------------------------------------------------------------------


def test_a_slow_process_takes_its_turns_late_and_loses_nothing() -> None:
    stage = Stage(SlowProcess(T0, LASTS, 0, 20 * MILLISECOND)).at(800)
    steps = [(wall - stage.speaker(0).steps[0]) // MILLISECOND for wall in stage.speaker(0).steps]
    slow = [at for at in steps if 230 < at < 480]
    assert 10 <= len(slow) <= 26, "one step in 10 to 25 ms instead of one for each message"
    assert not pairs(stage)
    assert "--- fault timing failure (slow process): SlowProcess" in str(stage.trace)
    assert stage.world.nodes["n0"].slow_ns == 0


# --- response -----------------------------------------------------------------------------------------------------


def test_a_value_failure_is_the_same_for_all_who_are_told() -> None:
    stage = Stage(ValueFailure(T0, LASTS, 0, 0.5)).at(800)
    told = [stage.heard(node, 0) for node in (1, 2, 3)]
    assert told[0] == told[1] == told[2]
    wrong = sum(said != Said("n0", number) for number, said in enumerate(told[0], 1))
    assert 20 <= wrong <= 45
    assert stage.told("response failure (value)") == 3 * wrong
    assert [said.number for said in stage.heard(0, 0)] == list(range(1, len(stage.heard(0, 0)) + 1))


def test_a_state_transition_failure_counts_one_event_twice_or_not_at_all() -> None:
    seen = set()
    for number in range(12):
        stage = Stage(StateTransitionFailure(T0 + number, 0))
        for node in range(4):
            stage.world.at(T0 + number, _count, stage.world, NAMES[node])
        stage.at(400)
        assert [stage.speaker(node).told for node in (1, 2, 3)] == [40] * 3
        seen.add(stage.speaker(0).told)
        assert stage.told("wrong transition") == 1
    assert seen == {39, 41}


def _count(world: World, name: str) -> None:
    world.request(name, *["count"] * 40)


def test_a_scenario_says_what_a_wrong_transition_is() -> None:
    def derail(node: Node, rng: random.Random) -> str | None:
        assert isinstance(node.machine, Speaker)
        node.machine.told = 1000 + rng.randrange(2)
        return "it has counted what nobody told it"

    stage = Stage(StateTransitionFailure(T0, 0), StateTransitionFailure(T0, 3), Crash(0, 3, None), derail=derail).at(
        400
    )
    assert [stage.speaker(node).told > 0 for node in (0, 1, 2)] == [True, False, False]
    assert stage.told("wrong transition") == 1, "a process that is down takes no transition"
    assert "wrong transition n0 it has counted" in str(stage.trace)


# --- arbitrary ----------------------------------------------------------------------------------------------------


def test_an_equivocator_tells_its_victims_something_else() -> None:
    stage = Stage(Equivocation(T0, LASTS, 0, (2, 3), 1.0)).at(800)
    honest, two, three = (stage.heard(node, 0) for node in (1, 2, 3))
    assert two == three != honest
    assert honest == [Said("n0", number) for number in range(1, len(honest) + 1)]
    assert stage.told("arbitrary failure (equivocation)") == 2 * sum(a != b for a, b in zip(honest, two, strict=True))


def test_a_forger_speaks_in_anothers_name_and_says_what_that_one_never_said() -> None:
    stage = Stage(Forgery(T0, LASTS, 0, 1, 1.0)).at(800)
    forged = {node: [each for each in stage.heard(node, 1) if each.by != "n1" or each.number < 1] for node in (2, 3)}
    false = [s for node in (2, 3) for s in stage.heard(node, 1)]
    assert stage.told("arbitrary failure (forgery)") > 100
    assert len(false) - len(set(false)) > 0 and any(forged.values())
    assert len(stage.heard(2, 1)) > len(stage.heard(0, 1)) + 40, "and n0 knows better"
    assert len(stage.heard(1, 1)) == stage.speaker(1).count, "nobody is told what it said itself"


def test_a_replayer_repeats_what_was_said_in_the_name_of_who_said_it() -> None:
    stage = Stage(Replay(T0, LASTS, 0, 1.0)).at(800)
    again: dict[int, int] = {}
    for of in (0, 1, 2):
        heard = stage.heard(3, of)
        assert all(said == Said(NAMES[of], said.number) for said in heard), "nothing is made up"
        again[of] = len(heard) - len(set(heard))
    assert min(again.values()) > 5
    assert stage.told("arbitrary failure (replay)") > 100


def test_the_silent_say_nothing_to_some() -> None:
    stage = Stage(Silence(T0, LASTS, 0, (2, 3))).at(800)
    assert set(pairs(stage)) == {(2, 0), (3, 0)}
    assert stage.told("arbitrary failure (silence)") == sum(pairs(stage).values())


def test_colluders_tell_the_same_lies_and_each_other_the_truth() -> None:
    """What n0 and n1 say is the same here but for the name, so a lie about the number is the same lie."""

    def alter(message: Said, rng: random.Random) -> Said:
        return msgspec.structs.replace(message, number=1000 * rng.randint(2, 9) + message.number)

    stage = Stage(Collusion(T0, LASTS, (0, 1), (3,)), alter=alter).at(800)
    lies = [[said.number for said in stage.heard(3, of) if said.number > 1000] for of in (0, 1)]
    assert lies[0] == lies[1] and len(lies[0]) > 50
    for node, of in ((0, 1), (1, 0), (2, 0), (2, 1)):
        assert all(said.number < 1000 for said in stage.heard(node, of))


# --- all of them --------------------------------------------------------------------------------------------------

EVERY: tuple[Fault, ...] = (
    SendOmission(T0, LASTS, 0, 0.5),
    ReceiveOmission(T0, LASTS, 1, 0.5),
    SendOverflow(T0, LASTS, 2, 3, 2 * MILLISECOND),
    ReceiveOverflow(T0, LASTS, 3, 2),
    SlowProcess(T0, LASTS, 1, MILLISECOND),
    ValueFailure(T0, LASTS, 3, 0.3),
    StateTransitionFailure(T0, 2),
    Equivocation(T0, LASTS, 0, (1,), 0.5),
    Forgery(T0, LASTS, 0, 2, 0.5),
    Replay(T0, LASTS, 0, 0.5),
    Silence(T0, LASTS, 0, (3,)),
    Collusion(T0, LASTS, (0, 2), (3,)),
    FailStop(T0 + LASTS, 3),
)


def test_all_can_be_composed_and_end_with_the_storm() -> None:
    stage = Stage(*(msgspec.structs.replace(fault, **_for_ever(fault)) for fault in EVERY)).at(600)
    stage.storm.heal()
    stage.at(900)
    assert all(node.conduct is None and not node.slow_ns and not node.derailed for node in stage.world.nodes.values())
    before = [len(stage.heard(node, of)) for node in range(3) for of in range(3)]
    counts = [stage.speaker(of).count for _ in range(3) for of in range(3)]
    stage.at(1400)
    after = [len(stage.heard(node, of)) for node in range(3) for of in range(3)]
    later = [stage.speaker(of).count for _ in range(3) for of in range(3)]
    gained = [b - a - (d - c) for a, b, c, d in zip(before, after, counts, later, strict=True)]
    assert all(abs(each) <= 1 for each in gained), "all that is said is heard, once"


def _for_ever(fault: Fault) -> dict[str, int]:
    return {"lasts_ns": 1000 * SECOND} if hasattr(fault, "lasts_ns") else {}


def test_the_same_seed_is_the_same_run_whatever_is_composed() -> None:
    assert str(Stage(*EVERY).at(900).trace) == str(Stage(*EVERY).at(900).trace)


def test_a_process_without_faults_draws_nothing() -> None:
    """Else runs would be other ones because of faults that they do not have."""
    calm, one = Stage().at(400), Stage(SendOmission(399 * MILLISECOND, MILLISECOND, 0, 0.0)).at(400)
    assert [line for line in one.trace.lines if "fault" not in line] == list(calm.trace.lines)


class Quiet(Scenario):
    def start(self, setup: Setup) -> Speaker:
        return Speaker(setup)

    def finished(self) -> bool:
        return True


@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: type(fault).__name__)
def test_each_is_part_of_a_plan_that_can_be_written_down_and_is_told_by_its_term(fault: Fault) -> None:
    plan = Plan(1, 4, Conditions(), (fault,), heal_at_ns=SECOND)
    assert Plan.load(plan.dump()) == plan
    trace = run(Quiet(), plan, trace=True).trace
    assert f"--- fault {term(fault)}: {type(fault).__name__}(" in trace
    assert end_ns(fault) in (fault.at_ns, fault.at_ns + LASTS)
    assert victims(fault, 4) and victims(fault, 0) == ()
    assert run(Quiet(), Plan(1, 1, Conditions(), (fault,), heal_at_ns=SECOND)).ok, "whoever is not there is not struck"


def test_every_kind_of_fault_has_a_term() -> None:
    terms = {kind: term(_made(kind)) for kind in get_args(Fault)}
    assert len(terms) == 33 and all(terms.values())
    assert {type(fault) for fault in EVERY} <= set(terms)
    assert term(Crash(0, 0, None, for_good=True)) == "halting crash" != term(Crash(0, 0, None))


def _made(kind: Callable[..., Fault]) -> Fault:
    struct: Any = kind
    fields = msgspec.structs.fields(struct)
    return kind(**{field.name: () if "tuple" in str(field.type) else 0 for field in fields})
