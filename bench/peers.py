"""Phalanx and other systems side by side: the same workloads in one run, in alternation, several rounds.

    python -m bench.peers --peers DIR                     everything, five rounds; tables and figures go to build/peers
    python -m bench.peers --peers DIR --only store --peer zookeeper --rounds 3

Other systems are driven by DIR/NAME/run.py (see `bench.drivers`), and skipped with a message where these cannot run.
Without `--peers` only Phalanx is measured, against the ping-pong of this machine.  In each round everybody has a turn,
Phalanx's between those of the others, and each round begins with another; before each turn a look at what else runs and
a ping-pong of two processes tell how quiet the machine is.  What is there is written after each round, and after Ctrl-C.

Do not use the machine for anything else meanwhile: the figures are of all its cores.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bench import drivers, pingpong
from bench.comparison import UVLOOP, Report
from bench.counts import sizes_of
from bench.loadgen import LoadFailed, program
from bench.multicast import MemberFailed
from bench.own import PARTS, Settings
from bench.samples import OURS, Sample, What, Work
from phalanx.errors import PhalanxError
from phalanx.lab.processes import NodeEnded, NotReached
from phalanx.runtime.compiled import is_compiled
from phalanx.runtime.loop import run

FAILURES = (MemberFailed, LoadFailed, NodeEnded, NotReached, PhalanxError, OSError)
"""What the benchmarks of our own raise: it is noted, and the run goes on."""

COUNT_MAX = 1_000
SECONDS_MIN, SECONDS_MAX = 0.1, 600.0
"""Less says nothing, and more is a mistake."""

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


class Turn(NamedTuple):
    """What one has to do in each round."""

    name: str
    take: Callable[[int, Report], bool]
    """With the number of the round; whether it makes sense to try again in the next one."""


def our_turn(part: str, settings: Settings) -> Turn:
    """One part of our own workloads."""

    async def measure(number: int, report: Report) -> None:
        async for work, figures in PARTS[part](settings._replace(number=number)):
            report.samples.append(Sample(OURS, work, figures, number))

    def take(number: int, report: Report) -> bool:
        try:
            run(measure(number, report))
        except FAILURES as error:
            report.notes.append(f"{OURS}: {part} failed in round {number}: {type(error).__name__}: {error}")
        return True

    return Turn(f"{OURS}, {part}", take)


def their_turn(name: str, driver: Path, seconds: float) -> Turn:
    """One other system."""

    def take(number: int, report: Report) -> bool:
        try:
            report.samples += drivers.run(driver, seconds, number)
        except drivers.DriverFailed as failed:
            report.samples += failed.samples
            note_failed(report, name, failed)
            return bool(failed.samples)
        return True

    return Turn(name, take)


def note_failed(report: Report, name: str, failed: drivers.DriverFailed) -> None:
    """Say so in the report, once."""
    what = "is not complete" if failed.samples else "is skipped"
    note = f"{name} {what}: {failed}"
    if note not in report.notes:
        report.notes.append(note)


def alternating(ours: Sequence[Turn], theirs: Sequence[Turn]) -> list[Turn]:
    """Ours spread evenly between theirs."""
    every = [(place / len(turns), turn) for turns in (ours, theirs) for place, turn in enumerate(turns)]
    return [turn for _, turn in sorted(every, key=lambda each: each[0])]


def probe(number: int, report: Report) -> None:
    """How quiet the machine is now."""
    others = run(pingpong.busy_cores())
    found = run(pingpong.measure()) | ({} if others is None else {"others_cores": round(others, 2)})
    report.samples.append(Sample(UVLOOP, Work(What.PING, pingpong.SIZE), found, number))


def measure(order: list[Turn], rounds: int, report: Report, directory: Path) -> None:
    """All rounds; each begins with another turn, and is written when it is over."""
    began = time.monotonic()
    for number in range(1, rounds + 1):
        turns = len(order)
        for nth, turn in enumerate(list(order), 1):
            took = time.monotonic() - began
            say(f"[{took:5.0f} s] round {number} of {rounds}, turn {nth} of {turns}: {turn.name}")
            probe(number, report)
            noted, had = len(report.notes), len(report.samples)
            if not turn.take(number, report):
                order.remove(turn)
            report.notes += errors_in(report.samples[had:])
            for note in report.notes[noted:]:
                say(f"          {note}")
        order = order[1:] + order[:1]
        report.about["rounds"] = str(number)
        report.write(directory)


def errors_in(samples: Iterable[Sample]) -> list[str]:
    """What is to be said of operations that failed though nothing was done to the nodes."""
    return [
        f"{each.system} had {each.figures['errors']:g} errors under {each.work.text} in round {each.round}"
        for each in samples
        if each.figures.get("errors")
    ]


def about(options: argparse.Namespace) -> dict[str, str]:
    """The machine, and what was asked for."""
    kind = "compiled modules" if is_compiled() else "Python sources"
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return {
        "when": datetime.now(UTC).isoformat(" ", "seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_version()}, uvloop {version('uvloop')}, {OURS} from {kind}",
        "load of the store": f"one process, in {'C' if program() else 'Python'}",
        "load of the machine when it began": load,
        "each measurement": f"{options.seconds:g} s",
        "rounds": "0",
    }


def main() -> int:
    """Measure, write, print.  The exit status is 1 if something of ours failed; what peers cannot do is only told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where the drivers of other systems are")
    parser.add_argument("--peer", action="append", metavar="NAME", help="only this one of them; may be repeated")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), help="only this of ours; may be repeated")
    parser.add_argument("--rounds", type=_count, default=5)
    parser.add_argument("--seconds", type=_seconds, default=2.0, help="of each measurement")
    parser.add_argument("--members", type=sizes_of, default="2-5", metavar="N[-M]", help="sizes of groups, from 2 to 9")
    parser.add_argument("--kills", type=_count, default=4, help="how many nodes of ours are killed in each round")
    parser.add_argument("--set-up", action="store_true", help="have each peer install what it needs, as root")
    parser.add_argument("--out", type=Path, default=Path("build/peers"), metavar="DIR")
    options = parser.parse_args()
    found = chosen(options.peers, options.peer or (), parser)
    report = Report(about(options), [], [])
    for name, driver in list(found.items()) if options.set_up else ():
        say(f"setting up {name}")
        try:
            drivers.set_up(driver)
        except drivers.DriverFailed as failed:
            note_failed(report, name, failed)
            del found[name]
    settings = Settings(options.seconds, options.members, options.kills)
    ours = [our_turn(part, settings) for part in options.only or PARTS]
    theirs = [their_turn(name, driver, options.seconds) for name, driver in found.items()]
    status = 0
    try:
        measure(alternating(ours, theirs), options.rounds, report, options.out)
    except KeyboardInterrupt:
        report.notes.append("ended by Ctrl-C: the last round is not complete")
        status = INTERRUPTED
    files = report.write(options.out)
    print((options.out / "peers.md").read_text("utf-8"))
    say(f"written: {', '.join(map(str, files))}")
    return status or int(any(note.startswith(OURS) for note in report.notes))


def chosen(directory: Path | None, only: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, Path]:
    """The drivers that are wanted."""
    found = drivers.find(directory) if directory else {}
    if directory and not found:
        parser.error(f"{directory} has no NAME/run.py")
    if unknown := [name for name in only if name not in found]:
        parser.error(f"there is no driver of {unknown[0]}; --peers has: {', '.join(found) or 'nothing'}")
    return {name: path for name, path in found.items() if not only or name in only}


def _count(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= COUNT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {COUNT_MAX}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not SECONDS_MIN <= value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from {SECONDS_MIN} to {SECONDS_MAX} s")
    return value


def say(text: str) -> None:
    """What goes on, for who waits."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
