"""`simulate`: is this class fit to be replicated?  First alone, then on simulated clusters under faults."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

import msgspec

from phalanx.api.arguments import callable_of, class_of, flag_of, number_of, sequence_of
from phalanx.errors import ConfigurationError
from phalanx.replication.objects import describe
from phalanx.sim.faults import Fault, end_ns, unfit
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result, replay, run
from phalanx.sim.shrink import DoesNotFail, shrink
from phalanx.sim.swarm import draw as draw_plan
from phalanx.testing.determinism import (
    NotElsewhere,
    Step,
    Suspicion,
    elsewhere,
    refuse_in_child,
    suspicions,
)
from phalanx.testing.draws import Draw, drawing
from phalanx.testing.scenario import ClassScenario, Subject

SEEDS = 50
"""Simulated disasters, if nothing is said: a few seconds."""

SIZES = (1, 2, 3, 3, 3, 4, 5)
"""One of these is the number of nodes of a run.  Most failures show on three nodes or fewer (Yuan et al., OSDI 2014)."""

NODES_MAX = 16
"""Nodes of one simulated cluster: larger ones find nothing new, and take long."""

SEQUENCES = 8
"""Sequences of calls on which the class is run alone."""

SEQUENCE_CALLS = 60
"""Calls of each."""

SHRINK_RUNS_MAX = 150
"""Runs that making one failure smaller may take."""


class Finding(NamedTuple):
    """One thing that is wrong.

    kind: `impure`, `nondeterminism`, `snapshot`, `upgrade` (found alone); `divergence`, `order`, `atomic`, `query`,
        `result`, `replica`, `lost`, `doubled`, `linearizability`, `stuck`, ... (found on a cluster).
    text: the story.
    seed: of the simulated disaster; None: it needs none.  plan: the smallest one found, for `simulate(cls, plan=...)`.
    """

    kind: str
    text: str
    seed: int | None = None
    plan: str | None = None


class Report:
    """What `simulate` found.  Its text says everything.

    seeds: the simulated disasters that were run.  calls: how many calls clients made in them.  skipped: what could not
    be checked, and why.  undecided: histories that were too hard to judge.  coverage: how often each thing happened.
    durable: as it was asked for.
    """

    def __init__(self, name: str, *, durable: bool = False) -> None:
        self.name = name
        self.durable = durable
        self.findings: list[Finding] = []
        self.seeds: list[int] = []
        self.calls = 0
        self.skipped: list[str] = []
        self.undecided = 0
        self.coverage: Counter[str] = Counter()

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        crashes = sum(count for name, count in self.coverage.items() if name in ("sim.crash", "sim.power off"))
        transfers = self.coverage["gateway.restored"]
        head = (
            f"{self.name}: {len(self.findings) or 'no'} finding{'s' * (len(self.findings) != 1)} in {len(self.seeds)} "
            f"simulated disasters ({self.calls} calls, {crashes} crashes, {transfers} state transfers)"
        )
        lines = [head, *(f"not checked: {text}" for text in self.skipped)]
        if self.undecided:
            lines.append(f"not decided: whether {self.undecided} histories are linearizable")
        for number, finding in enumerate(self.findings, 1):
            where = "" if finding.seed is None else f" (seed {finding.seed})"
            lines += ["", f"{number}. {finding.kind}{where}: {finding.text}"]
            if finding.plan is not None:
                durable = ", durable=True" if self.durable else ""
                lines.append(f"replay: phalanx.testing.simulate({self.name}{durable}, plan={finding.plan!r})")
        return "\n".join(lines)


class SimulationFailed(AssertionError):
    """`simulate` found something; `report` has it all, and so has the text."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def simulate(
    cls: type[Any],
    *,
    seeds: int | Iterable[int] = SEEDS,
    calls: Draw | None = None,
    nodes: int | Sequence[int] = SIZES,
    durable: bool = False,
    faults: Iterable[Fault] = (),
    plan: str | None = None,
    check: bool = True,
) -> Report:
    """Find out whether a class with `@command` and `@query` methods is fit to be replicated.

        def test_the_bank_can_be_replicated() -> None:
            phalanx.testing.simulate(Bank)

    First the class is run alone: the same calls twice, from saved and restored states, and in processes with other hash
    seeds; and watched for clocks, chance and files; a class that replaces another one also from states of that one, which
    are converted on the way.  Then each seed is a simulated disaster: whole nodes that host the
    class, and clients that call it, while nodes crash and come back, links are cut, and clocks are wrong.  Replicas must
    answer alike and have the same state after each command; every command must be run once; and what clients were told
    must be what one instance alone answers, in an order that explains when they were told (linearizability).

    seeds: how many disasters, from 0 on; or which.  The same seed is the same disaster.
    calls: draws a client's next call from a `random.Random`, as `phalanx.testing.call(Bank.deposit, "ann", 3)`.  None:
        methods are drawn with arguments of their annotated types, from small pools of values.
    nodes: how many nodes a cluster has; of several numbers each seed draws one.
    durable: simulate an object that is hosted with `durable=True`.  Then the disasters are also power cuts of all nodes
        at once, deaths in the middle of a write, and disks of a minority that tear, lose, misplace or flip what was on
        them; nodes come back with their logs and the snapshots in these, and nothing that was answered may be lost.
    faults: these strike in every disaster, besides what its seed draws: values of `phalanx.testing.faults`, at times of
        the simulation, whose storm lasts until the last of them is over.  With failures beyond what a replicated object
        promises to survive (wrong values, wrong steps, lies) the question is the other one: are they found?
    plan: run just this one, from an earlier finding, instead of all else.
    check: raise what was found.  False: only return it.

    Stops at the first disaster that finds something, and makes it smaller.  Returns the report.  Raises
    `SimulationFailed`, an AssertionError, if something was found; `ConfigurationError` if the class cannot be replicated
    at all, or for arguments that make no sense, and `TypeError`; and what `calls` raises.
    """
    refuse_in_child()
    sizes = _numbers((nodes,) if isinstance(nodes, int) else nodes, "nodes")
    if not sizes or not all(1 <= size <= NODES_MAX for size in sizes):
        raise ConfigurationError(f"a simulated cluster has 1 to {NODES_MAX} nodes, not {nodes}")
    if isinstance(seeds, int):
        wanted: Sequence[int] = range(number_of(seeds, "the number of seeds"))
    else:
        wanted = _numbers(seeds, "seeds")
    if not wanted and plan is None:
        raise ConfigurationError("simulate needs at least one seed")
    if calls is not None:
        callable_of(calls, "calls")
    flag_of(check, "check")
    kind = describe(class_of(cls))
    subject = Subject(kind, drawing(kind, calls), sizes, flag_of(durable, "durable"))
    simulation = _Simulation(subject, tuple(map(_fault_of, sequence_of(faults, "faults"))))
    before = random.getstate()  # runs seed the module's own generator, so that they can be replayed
    try:
        if plan is not None:
            simulation.run_plan(_plan_of(plan))
        else:
            simulation.run_alone()
            simulation.run_seeds(wanted)
    finally:
        random.setstate(before)
    report = simulation.report
    if check and not report.ok:
        raise SimulationFailed(report)
    return report


def _numbers(given: Any, what: str) -> tuple[int, ...]:
    return tuple(number_of(each, f"each of `{what}`") for each in sequence_of(given, f"several `{what}`"))


def _fault_of(given: Any) -> Fault:
    """As a plan has it that is replayed.  Raises `ConfigurationError`, and `TypeError` for what is none."""
    if not isinstance(given, get_args(Fault)):
        raise TypeError(f"faults are values of phalanx.testing.faults, not {given!r}")
    try:
        fault: Fault = msgspec.json.decode(msgspec.json.encode(given), type=Fault)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise ConfigurationError(f"no such fault can be: {given}: {error}") from None
    if wrong := unfit(fault):
        raise ConfigurationError(f"no such fault can be: {fault}: {wrong}")
    return fault


def _plan_of(text: str) -> Plan:
    if not isinstance(text, str):
        raise TypeError(f"a plan is the text of a finding, not {type(text).__name__}")
    try:
        return Plan.load(text)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise ConfigurationError(f"that is no plan of a finding: {error}") from None


class _Simulation:
    def __init__(self, subject: Subject, faults: tuple[Fault, ...]) -> None:
        self._subject = subject
        self._faults = faults
        self._scenario = ClassScenario(subject)
        self.report = Report(subject.kind.cls.__name__, durable=subject.durable)

    def _fresh(self) -> ClassScenario:
        self._scenario = ClassScenario(self._subject)
        return self._scenario

    def run_alone(self) -> None:
        """Without a cluster."""
        kind = self._subject.kind
        sequences = [self._sequence(random.Random(f"{number}/alone")) for number in range(SEQUENCES)]
        sequences += self._passages()
        found = list(suspicions(kind, sequences))
        if not {"impure", "nondeterminism"} & {each.kind for each in found}:  # else that would differ there, too
            try:
                found += filter(None, [elsewhere(kind, sequences)])
            except NotElsewhere as error:
                self.report.skipped.append(f"other hash seeds, since {error}")
        self._suspect(found)

    def _sequence(self, rng: random.Random) -> list[Step]:
        drawn = [self._subject.draw(rng) for _ in range(SEQUENCE_CALLS)]
        return [Step(each.operation.id, each.arguments) for each in drawn]

    def _passages(self) -> list[list[Step]]:
        """Sequences that begin with a former version of the class, and go on with the next."""
        newest = self._subject.kind
        found: list[list[Step]] = []
        for number in sorted(newest.versions)[1:]:
            try:
                before, after = (drawing(newest.versions[each], None) for each in (number - 1, number))
            except ConfigurationError as error:
                self.report.skipped.append(f"the upgrade to version {number}: {error}")
                continue
            after = self._subject.draw if number == newest.version else after
            for place in range(SEQUENCES):
                rng = random.Random(f"{place}/{number}/upgraded")
                steps = [[draw(rng) for _ in range(rng.randrange(1, SEQUENCE_CALLS // 2))] for draw in (before, after)]
                former, new = (
                    [Step(each.operation.id, each.arguments, number - 1 + later) for each in drawn]
                    for later, drawn in enumerate(steps)
                )
                found.append([*former, Step("", b"", number), *new])
        return found

    def _suspect(self, found: Iterable[Suspicion]) -> None:
        self.report.findings += [Finding(each.kind, each.text) for each in found]

    def run_seeds(self, seeds: Iterable[int]) -> None:
        """Up to the first that finds something."""
        for seed in seeds:
            scenario = self._fresh()
            result = run(scenario, self._with_faults(draw_plan(seed, scenario.swarm)))
            self._count(result)
            if not result.ok:
                self._found(result)
                return

    def _with_faults(self, plan: Plan) -> Plan:
        if not self._faults:
            return plan
        together = tuple(sorted((*plan.faults, *self._faults), key=lambda fault: fault.at_ns))
        over_ns = max(plan.heal_at_ns, *map(end_ns, self._faults))
        return msgspec.structs.replace(plan, faults=together, heal_at_ns=over_ns)

    def run_plan(self, plan: Plan) -> None:
        """This one."""
        result = replay(self._fresh, plan, trace=False)
        self._count(result)
        if not result.ok:
            self.report.findings.append(self._finding(result))

    def _count(self, result: Result) -> None:
        self.report.seeds.append(result.seed)
        self.report.calls += len(self._scenario.calls_made)
        self.report.coverage.update(result.notes)
        self.report.undecided += self._scenario.undecided

    def _found(self, result: Result) -> None:
        original = self._finding(result)
        smaller = self._smaller(result)
        if smaller is None:
            text = f"{original.text}\nnot the same when run again: it depends on what no seed decides, such as a clock"
            self.report.findings.append(original._replace(text=text))
        else:
            self.report.findings.append(self._finding(smaller))

    def _smaller(self, result: Result) -> Result | None:
        """A smaller run that fails in the same way; None: not even the same plan does so again."""
        if not run(self._fresh(), result.plan).kinds & result.kinds:
            return None
        try:
            return shrink(self._fresh, result.plan, runs_max=SHRINK_RUNS_MAX).result
        except DoesNotFail:  # it did, and then did not
            return None

    def _finding(self, result: Result) -> Finding:
        """What is wrong with this run, which was the last: its calls are known."""
        if result.failures:
            kind, text = result.failures[0]
        else:
            kind, text = "stuck", f"the cluster did not get well after the storm: {result.stuck}"
        story = "\n".join((text, "the calls:", *self._scenario.calls_made, result.plan.describe()))
        return Finding(kind.removeprefix("judge "), story, result.seed, result.plan.dump())
