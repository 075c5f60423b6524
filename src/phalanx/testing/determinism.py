"""One class, one sequence of commands, many ways to run it: all must come to the same answers and the same states.

A class that replaces another one is run from a state of that one as well, which is converted on the way.

Alone, so without any cluster: twice in this process; from a saved and restored state before each command, as a replica
that has just been given its state runs it; and in processes with other hash seeds, where sets are iterated in another
order, and with other sequences before this one.  One run is also watched for calls that no replica may make (`impure`).
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.model.clock import SECOND, stamp_of
from phalanx.model.replicated import Context
from phalanx.replication.objects import ObjectType, Operation, describe
from phalanx.testing.impure import watching
from phalanx.testing.located import Located
from phalanx.testing.subject import Alone, Done, call_text, contrasted, outcome_text, told, whole_text

HASH_SEEDS = (1, 2)
"""Two runs elsewhere, compared with each other: so a finding does not depend on the hash seed of this process."""

ELSEWHERE_S_MAX = 120.0
"""For one such process: it stops what hangs, and judges no speed."""

STEPS_SHOWN = 8
"""Of a sequence, before the step that differs."""

BEGIN_NS = 1_700_000_000 * SECOND
"""When a sequence begins, by its stamps."""

CHILD = "PHALANX_TESTING_CHILD"
"""Set in the environment of such processes, which must not begin simulations of their own."""


class Step(NamedTuple):
    """One command or query of a sequence; no operation: the state is converted to that version of the class.

    version: which one runs it; 0: the last.  A sequence begins with the version of its first step.
    """

    operation: str
    arguments: bytes
    version: int = 0


class Made(NamedTuple):
    """What one step came to, in a form that travels between processes."""

    told: str
    digest: str
    outcome: str
    state: str


def context_of(index: int) -> Context:
    """What the replicas would be given for the step of that place: a second passes from one to the next."""
    return Context(stamp_of(BEGIN_NS + SECOND * index), "n0", index + 1, index + 1)


def made(newest: ObjectType[Any], steps: Sequence[Step], *, restoring: bool = False) -> list[Made]:
    """Run a sequence, up to a conversion that raises.  `restoring`: from a saved and restored state, each step."""
    kind = _kind_of(newest, steps[0])
    alone = Alone(kind)
    found: list[Made] = []
    for index, step in enumerate(steps):
        if restoring:
            alone.instance = kind.state.restore(kind.state.snapshot(alone.instance))
        context = context_of(index)
        if not step.operation:
            try:
                alone = _converted(newest, alone.instance, step)
            except (Exception, SystemExit) as error:
                return [*found, Made(RAISED, "", f"raised {type(error).__name__}: {error}", whole_text(alone.instance))]
            kind = _kind_of(newest, step)
            found.append(Made("", kind.state.digest(alone.instance).value.hex(), "", whole_text(alone.instance)))
            continue
        if kind.tick is not None:
            due_ms = alone.instance.due_ms()
            if due_ms is not None and due_ms <= context.time_ms:
                alone.run(kind.tick, b"", context)
        found.append(_travelling(alone.done(kind.operations[step.operation], step.arguments, context)))
    return found


RAISED = "conversion"
"""What is told of a conversion that raises."""


def _kind_of(newest: ObjectType[Any], step: Step) -> ObjectType[Any]:
    return newest.versions[step.version or newest.version]


def _converted(newest: ObjectType[Any], instance: Any, step: Step) -> Alone:
    kind = _kind_of(newest, step)
    alone = Alone(kind)
    alone.instance = kind.converted(instance, kind.version - 1)
    return alone


def _travelling(done: Done) -> Made:
    return Made(told(done.outcome).hex(), done.digest.hex(), outcome_text(done.outcome), done.state)


class Suspicion(NamedTuple):
    """A way in which the class is not deterministic: a stable kind, and the story."""

    kind: str
    text: str


def suspicions(kind: ObjectType[Any], sequences: Sequence[Sequence[Step]]) -> Iterator[Suspicion]:
    """All that can be found without a cluster, each kind once."""
    yield from _impurities(kind, sequences)
    yield from _unconvertible(kind, sequences)
    ways = (
        ("nondeterminism", "the same commands, run twice in one process", "first", "second", False),
        (
            "snapshot",
            "the same commands, run by one instance and by one that is saved and restored before each",
            "kept",
            "restored",
            True,
        ),
    )
    for what, how, one, other, restoring in ways:
        for steps in sequences:
            first, second = made(kind, steps), made(kind, steps, restoring=restoring)
            if (story := _difference(kind, steps, first, second, one, other)) is not None:
                yield Suspicion(what, f"{how}, differ\n{story}")
                break


def _impurities(kind: ObjectType[Any], sequences: Sequence[Sequence[Step]]) -> Iterator[Suspicion]:
    heard: dict[str, None] = {}
    for steps in sequences:
        alone = Alone(_kind_of(kind, steps[0]))
        for index, step in enumerate(steps):
            of = _kind_of(kind, step)
            operation = of.operations[step.operation] if step.operation else of.conversion
            assert operation is not None, "a version that is converted to has a conversion"
            with watching(lambda text, where=operation.where: heard.setdefault(f"{where} {text}")):  # type: ignore[misc]  # a default binds the loop's variable
                if isinstance(operation, Operation):
                    alone.run(operation, step.arguments, context_of(index))
                    continue
                try:
                    alone = _converted(kind, alone.instance, step)
                except (Exception, SystemExit):
                    break
    if heard:
        yield Suspicion("impure", "\n".join(heard))


def _unconvertible(kind: ObjectType[Any], sequences: Sequence[Sequence[Step]]) -> Iterator[Suspicion]:
    """A group that has such a state stays with the former version."""
    for steps in sequences:
        runs = made(kind, steps)
        if runs and runs[-1].told == RAISED:
            text = _story(kind, steps[: len(runs)], (("the conversion", runs[-1]),))
            yield Suspicion("upgrade", f"a state of the former class cannot be converted\n{text}")
            return


def elsewhere(kind: ObjectType[Any], sequences: Sequence[Sequence[Step]]) -> Suspicion | None:
    """Run the sequences in processes with other hash seeds, one of which runs the last of them first: so what is kept
    outside of the instance is another thing there.  Raises `NotElsewhere` if the class cannot be found there."""
    forwards = _made_elsewhere(kind.cls, sequences, HASH_SEEDS[0])
    backwards = _made_elsewhere(kind.cls, sequences[::-1], HASH_SEEDS[1])[::-1]
    for steps, first, second in zip(sequences, forwards, backwards, strict=True):
        names = [f"PYTHONHASHSEED={seed}" for seed in HASH_SEEDS]
        if (story := _difference(kind, steps, first, second, names[0], names[1])) is not None:
            how = "the same commands, run in processes with different hash seeds, after different others, differ"
            why = "is a set iterated somewhere, or something kept outside of the object?"
            return Suspicion("nondeterminism", f"{how} ({why})\n{story}")
    return None


def _difference(
    kind: ObjectType[Any], steps: Sequence[Step], first: list[Made], second: list[Made], one: str, other: str
) -> str | None:
    """The first step after which two runs differ, in words."""
    for number, a, b in zip(count(1), first, second, strict=False):
        if (a.told, a.digest) != (b.told, b.digest):
            return _story(kind, steps[:number], ((one, a), (other, b)))
    return None


def _story(kind: ObjectType[Any], steps: Sequence[Step], ends: Sequence[tuple[str, Made]]) -> str:
    """The steps, and what came of the last one."""
    lines = [f"  {place}. {_step_text(kind, step)}" for place, step in enumerate(steps, 1)][-STEPS_SHOWN:]
    for (name, done), state in zip(ends, contrasted([done.state for _, done in ends]), strict=True):
        lines += [f"  {name}: {done.outcome}", f"    and the state is {state}"]
    return "\n".join(lines)


def _step_text(kind: ObjectType[Any], step: Step) -> str:
    of = _kind_of(kind, step)
    if not step.operation:
        return f"upgraded to version {of.version}, {of.name}"
    return call_text(of.operations[step.operation], step.arguments)


# --- other processes ----------------------------------------------------------------------------------------------


class NotElsewhere(Exception):
    """The class cannot be run in another process; the text says why."""


class _Order(msgspec.Struct):
    cls: Located
    sequences: tuple[tuple[Step, ...], ...]


def _made_elsewhere(cls: type, sequences: Sequence[Sequence[Step]], hash_seed: int) -> list[list[Made]]:
    try:
        located = Located.of(cls)
    except ConfigurationError as error:
        raise NotElsewhere(str(error)) from None
    order = msgspec.json.encode(_Order(located, tuple(tuple(steps) for steps in sequences)))
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), CHILD: "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from phalanx.testing.determinism import child; child()"],
            input=order.decode(),
            env=environment,
            capture_output=True,
            text=True,
            timeout=ELSEWHERE_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotElsewhere(f"the class did not end within {ELSEWHERE_S_MAX:g} s in another process") from None
    if done.returncode != 0:
        raise NotElsewhere(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the process just ended")
    return msgspec.json.decode(done.stdout, type=list[list[Made]])


def child() -> None:
    """What such a process does: an order on standard input, the results on standard output.  What the class prints goes
    to standard error."""
    order = msgspec.json.decode(sys.stdin.read(), type=_Order)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        kind = describe(order.cls.load())
        found = [made(kind, steps) for steps in order.sequences]
    except BaseException as error:
        traceback.print_exc()
        sys.exit(f"{order.cls.module}.{order.cls.name} cannot be run in another process: {error!r}")
    with out:
        out.write(msgspec.json.encode(found))


def refuse_in_child() -> None:
    """Raises `ConfigurationError` in such a process: the script that it imports must not simulate when imported."""
    if os.environ.get(CHILD):
        raise ConfigurationError(
            "this module simulates when it is imported: put that under `if __name__ == '__main__':`"
        )
