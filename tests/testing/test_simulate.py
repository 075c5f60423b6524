"""`phalanx.testing.simulate`: classes that are fit pass, and each planted bug is found, named, and replayed."""

import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest

from phalanx.errors import ConfigurationError
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.replicated import command, query
from phalanx.replication.objects import describe
from phalanx.sim.run import Result
from phalanx.testing import Call, SimulationFailed, call, faults, simulate, simulation
from phalanx.testing.draws import drawing
from phalanx.testing.scenario import ClassScenario
from tests.testing import subjects
from tests.testing.subjects import Bank, Shop, Tags
from tests.without import without_memory, without_questions


def kinds(cls: type[Any], **options: Any) -> set[str]:
    return {finding.kind for finding in simulate(cls, check=False, **options).findings}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shrinking, which takes the most time, and has its own test."""

    def unshrunk(_: Any, result: Result) -> Result:
        return result

    monkeypatch.setattr(simulation._Simulation, "_smaller", unshrunk)


def test_classes_that_are_fit_pass_whatever_goes_wrong() -> None:
    report = simulate(Bank, seeds=20)
    assert report.ok and report.seeds == list(range(20))
    assert report.calls > 500 and report.undecided == 0 and not report.skipped
    assert report.coverage["sim.crash"] and report.coverage["gateway.restored"], "or it would show nothing"


def test_time_tokens_and_arguments_of_all_kinds_are_no_obstacle() -> None:
    report = simulate(Shop, seeds=20)
    assert report.ok and not report.undecided, str(report)


def test_a_tick_that_raises_is_judged_as_replicas_run_it() -> None:
    report = simulate(subjects.Fuse, seeds=8)
    assert report.ok and not report.undecided, str(report)


@pytest.mark.parametrize(
    ("cls", "found"),
    [
        (subjects.Dice, {"impure", "nondeterminism", "divergence"}),
        (subjects.Clock, {"impure"}),
        (subjects.Stopwatch, {"impure", "nondeterminism", "divergence"}),
        (subjects.Tags, {"nondeterminism"}),
        (subjects.Shared, {"nondeterminism", "divergence"}),
        (subjects.Global, {"divergence"}),
        (subjects.Remembering, {"nondeterminism"}),
        (subjects.Forgetful, {"snapshot", "divergence"}),
        (subjects.Cached, {"query"}),
        (subjects.Hasty, {"atomic"}),
        (subjects.Liar, {"result"}),
        (subjects.Moody, {"divergence"}),
        (subjects.Twins, {"snapshot", "divergence"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_class_that_is_not_fit_is_found_out(cls: type[Any], found: set[str], hasty: None) -> None:
    """SCENARIOS 35 and 36."""
    del hasty
    assert found <= kinds(cls)


def test_the_error_tells_the_story_and_the_report_has_its_parts() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(subjects.Dice, seeds=[3])
    report = caught.value.report
    assert isinstance(caught.value, AssertionError) and str(caught.value) == str(report)
    impure = next(finding for finding in report.findings if finding.kind == "impure")
    assert "Dice.throw draws chance" in impure.text and "in subjects.py line" in impure.text
    assert impure.seed is None and impure.plan is None
    divergence = next(finding for finding in report.findings if finding.kind == "divergence")
    assert divergence.seed == 3 and divergence.plan is not None
    assert "throw() was answered differently by two replicas" in divergence.text
    assert f"simulate(Dice, plan={divergence.plan!r})" in str(report)


@pytest.mark.usefixtures("hasty")
def test_states_too_long_for_a_report_are_shown_where_they_differ() -> None:
    findings = simulate(subjects.Ledger, seeds=5, check=False).findings
    assert {finding.kind for finding in findings} == {"impure", "nondeterminism", "snapshot", "divergence"}
    for finding in findings[1:]:
        [one, other] = [line for line in finding.text.splitlines() if "the state is" in line]
        assert one != other and max(len(one), len(other)) < 400, finding.text
        assert "Ledger( ... " in one and "changed=" in one, finding.text


def test_what_is_found_is_made_smaller_and_can_be_replayed() -> None:
    [finding] = simulate(subjects.Hasty, check=False).findings
    assert finding.plan is not None
    calls = finding.text.partition("the calls:\n")[2].splitlines()
    assert "add(-1" in calls[-1] or "add(-1" in calls[0]
    plan = msgspec.json.decode(finding.plan)
    assert len(plan["calls"]) <= 1 and plan["nodes"] == 1 and "faults" not in plan
    [again] = simulate(subjects.Hasty, plan=finding.plan, check=False).findings
    assert again == finding


def test_what_fails_for_some_time_and_then_no_more_is_found_and_said_to_depend_on_no_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whenever it ends: in the first run, while it is made sure of, or while it is made smaller."""

    def lasts(calls: int) -> Callable[[Any], None]:
        return lambda _: setattr(subjects.Fading, "left", calls)

    for calls in (1, 2, 5):
        monkeypatch.setattr(simulation._Simulation, "run_alone", lasts(calls))
        [finding] = simulate(subjects.Fading, seeds=1, nodes=3, check=False).findings
        assert "not the same when run again: it depends on what no seed decides" in finding.text


def test_the_same_seeds_make_the_same_report_and_leave_the_generator_alone() -> None:
    random.seed(1)
    expected = random.Random(1).random()
    texts = [str(simulate(Bank, seeds=[4, 9], check=False)) for _ in range(2)]
    assert texts[0] == texts[1]
    assert random.random() == expected


class Ledger:
    """Right; calls tell each other apart."""

    lines: list[int]

    def __init__(self) -> None:
        self.lines = []

    @command
    def write(self, number: int) -> int:
        self.lines.append(number)
        return len(self.lines)

    @query
    def read(self) -> list[int]:
        return self.lines


def numbered(rng: random.Random) -> Call:
    return call(Ledger.read) if rng.random() < 0.4 else call(Ledger.write, rng.randrange(1 << 40))


@pytest.mark.parametrize(("plant", "found"), [(without_memory, "doubled"), (without_questions, "linearizability")])
def test_a_bug_of_the_replication_itself_would_be_found(
    plant: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch, hasty: None
) -> None:
    """The judge is not blind: a command that is run twice, and a read that is stale."""
    del hasty
    assert simulate(Ledger, seeds=range(12), calls=numbered).ok
    plant(monkeypatch)
    assert found in kinds(Ledger, seeds=range(120), calls=numbered)


def test_a_command_that_was_answered_and_never_run_is_lost(monkeypatch: pytest.MonkeyPatch, hasty: None) -> None:
    del hasty
    run = ClassScenario._count

    def blind(scenario: Any, calls: Any, model: Any) -> list[str]:
        del model._commands[:1]
        return run(scenario, calls, model)

    monkeypatch.setattr(ClassScenario, "_count", blind)
    assert kinds(Ledger, seeds=range(5), calls=numbered) == {"lost"}


# --- calls ------------------------------------------------------------------------------------------------------------


class Node(NamedTuple):
    name: str
    below: "list[Node]"


class Endless(msgspec.Struct):
    again: "Endless"


class Odd:
    @command
    def grow(self, node: Node, level: Annotated[int, msgspec.Meta(gt=0, lt=10, multiple_of=3)]) -> None: ...

    @command
    def name(self, text: Annotated[str, msgspec.Meta(min_length=2, max_length=3)], *, loud: bool = False) -> None: ...


class Patterned:
    @command
    def set(self, code: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]) -> None: ...


class Bottomless:
    @command
    def set(self, value: Endless) -> None: ...


def test_drawn_arguments_have_their_types_and_keep_their_bounds() -> None:
    kind = describe(Odd)
    draw, rng = drawing(kind, None), random.Random(0)
    seen = set()
    for _ in range(500):
        invocation = draw(rng)
        operation = invocation.operation
        arguments = zip(operation.parameters, operation.decode(invocation.arguments), strict=True)  # validates
        seen |= {(name, str(value)) for (name, _), value in arguments if name in ("level", "loud")}
    assert seen == {("level", "3"), ("level", "6"), ("level", "9"), ("loud", "True"), ("loud", "False")}


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Patterned, "Patterned.set, parameter 'code': no value of str can be drawn; give calls="),
        (Bottomless, "Bottomless.set, parameter 'value': no value of a type that must contain itself can be drawn"),
    ],
)
def test_what_cannot_be_drawn_is_said(cls: type[Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why.replace("(", r"\(")):
        simulate(cls)


def test_arguments_that_make_no_sense_are_refused() -> None:
    for options, why in (
        ({"seeds": 0}, "at least one seed"),
        ({"nodes": 0}, "1 to 16 nodes"),
        ({"nodes": ()}, "1 to 16 nodes"),
        ({"nodes": 17}, "1 to 16 nodes"),
        ({"plan": "{}"}, "no plan"),
        ({"plan": "nonsense"}, "no plan"),
        ({"calls": lambda _: "deposit"}, r"phalanx.testing.call\(...\), not 'deposit'"),
        ({"calls": lambda _: call(Tags.pop)}, "Tags.pop is no method of Bank"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            simulate(Bank, **options)


NUMBER: Any = 5
NAN: Any = float("nan")
SLOW = faults.SlowProcess(at_ns=1, lasts_ns=1, node=0, extra_ns=1)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"cls": 5}, TypeError, "give the class, not 5"),
        ({"cls": Bank()}, TypeError, "give the class, not <"),
        ({"seeds": "12"}, TypeError, "several `seeds` are a sequence, not '12'"),
        ({"seeds": 2.5}, TypeError, "several `seeds` are a sequence, not 2.5"),
        ({"seeds": [1.5]}, TypeError, "each of `seeds` must be an int, not float"),
        ({"seeds": True}, TypeError, "must be an int, not bool"),
        ({"nodes": "3"}, TypeError, "several `nodes` are a sequence, not '3'"),
        ({"nodes": [1.5]}, TypeError, "each of `nodes` must be an int, not float"),
        ({"nodes": True}, TypeError, "each of `nodes` must be an int, not bool"),
        ({"calls": 5}, TypeError, "calls must be a function, not int"),
        ({"calls": lambda _: call(Bank.deposit, NUMBER, 5)}, ConfigurationError, "parameter 'name': Expected `str`"),
        ({"durable": "no"}, TypeError, "durable must be True or False, not 'no'"),
        ({"check": "no"}, TypeError, "check must be True or False, not 'no'"),
        ({"faults": SLOW}, TypeError, "faults are a sequence, not SlowProcess"),
        ({"faults": [5]}, TypeError, "values of phalanx.testing.faults, not 5"),
        ({"faults": [faults.SlowProcess]}, TypeError, "values of phalanx.testing.faults, not <class"),
        ({"faults": [msgspec.structs.replace(SLOW, at_ns="1")]}, ConfigurationError, "no such fault can be"),
        ({"faults": [msgspec.structs.replace(SLOW, node="a")]}, ConfigurationError, "no such fault can be"),
        ({"faults": [msgspec.structs.replace(SLOW, at_ns=NAN)]}, ConfigurationError, "Expected `int`, got `null`"),
        ({"faults": [msgspec.structs.replace(SLOW, at_ns=-1)]}, ConfigurationError, "at_ns is -1, and must be 0 to"),
        ({"faults": [msgspec.structs.replace(SLOW, lasts_ns=-1)]}, ConfigurationError, "lasts_ns is -1, and must"),
        ({"faults": [msgspec.structs.replace(SLOW, node=-1)]}, ConfigurationError, "node is -1, and must be 0 at"),
        (
            {"faults": [msgspec.structs.replace(SLOW, at_ns=10**15)]},
            ConfigurationError,
            "at_ns is .*, and must be 0 to",
        ),
        ({"faults": [faults.SlowDisk(0, 1, 0, 10**15)]}, ConfigurationError, "extra_ns is .*, and must be 0 to 36000"),
        ({"faults": [faults.Crash(3599 * SECOND, 0, 2 * SECOND)]}, ConfigurationError, "must be by 3600 s"),
        ({"faults": [faults.Crash(0, 0, -1)]}, ConfigurationError, "down_ns is -1, and must be 0 to"),
        ({"faults": [faults.Loss(0, 1, 1.5, 0.0)]}, ConfigurationError, "loss is 1.5, and must be 0 to 1"),
        ({"faults": [faults.Flap(0, 1, 0, 1, 0)]}, ConfigurationError, "period_ns is 0, and must be 1 to"),
        ({"faults": [faults.ClockRate(0, 1, 0, -(10**6))]}, ConfigurationError, "ppm is -1000000, and must be -9"),
        ({"faults": [faults.Partition(0, 1, ((0, -2),))]}, ConfigurationError, "groups is -2, and must be 0 at"),
        ({"plan": 5}, TypeError, "a plan is the text of a finding, not int"),
        ({"plan": "\ud800"}, ConfigurationError, "no plan of a finding"),
    ],
)
def test_a_simulation_of_what_makes_no_sense_does_not_begin(
    options: dict[str, Any], error: type[Exception], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "SEQUENCE_CALLS", 1)
    with pytest.raises(error, match=why):
        simulate(**{"cls": Bank, "seeds": 1, **options})


# --- other processes --------------------------------------------------------------------------------------------------


def test_a_class_inside_a_function_cannot_be_run_elsewhere_and_the_report_says_so() -> None:
    class Local:
        count: int = 0

        @command
        def add(self) -> None:
            self.count += 1

    report = simulate(Local, seeds=1)
    [skipped] = report.skipped
    assert "other hash seeds" in skipped and "defined inside a function" in skipped and skipped in str(report)


def test_a_script_is_run_elsewhere_without_being_run_again(tmp_path: Path) -> None:
    body = """
        import phalanx
        from phalanx.testing import simulate

        class Names:
            names: set[str]

            def __init__(self) -> None:
                self.names = set()

            @phalanx.command
            def add(self, name: str) -> list[str]:
                self.names.add(name)
                return list(self.names)

        """
    (tmp_path / "guarded.py").write_text(
        textwrap.dedent(body) + "if __name__ == '__main__':\n    print(simulate(Names, seeds=1, check=False))\n"
    )
    (tmp_path / "bare.py").write_text(textwrap.dedent(body) + "print(simulate(Names, seeds=1, check=False))\n")
    texts = [
        subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for name in ("guarded.py", "bare.py")
    ]
    assert "nondeterminism: the same commands, run in processes with different hash seeds" in texts[0]
    assert "not checked: other hash seeds" in texts[1] and "if __name__ == '__main__'" in texts[1]


# --- faults of one's own ------------------------------------------------------------------------------------------


def test_a_wrong_step_of_one_replica_is_found_and_what_all_promise_to_survive_is_not() -> None:
    at_ns = 6 * SECOND
    lapses: list[faults.Fault] = [
        faults.SendOmission(at_ns, SECOND, 0, 0.5),
        faults.ReceiveOverflow(at_ns, SECOND, 1, 2),
        faults.SlowProcess(at_ns, SECOND, 2, 20 * MILLISECOND),
    ]
    assert simulate(Bank, nodes=3, seeds=3, faults=lapses).ok
    wrong = [faults.StateTransitionFailure(at_ns, 1)]
    report = simulate(Bank, nodes=3, seeds=4, faults=wrong, check=False)
    [finding] = report.findings
    assert finding.kind in ("divergence", "replica", "linearizability", "doubled", "lost"), finding.text
    assert "StateTransitionFailure" in finding.text
    again = simulate(Bank, plan=finding.plan, check=False)
    assert [found.kind for found in again.findings] == [finding.kind]
