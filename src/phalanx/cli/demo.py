"""`phalanx demo`: three real processes, a kill, a pause, and the proof that no client was cheated."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from phalanx.api.client import connect
from phalanx.api.tls import TLS
from phalanx.check import Answer, KvCas, check_linearizable, describe
from phalanx.cli.calls import Tls, tls_of
from phalanx.cli.scene import LiveScreen, PlainScreen, Scene, Screen, composition
from phalanx.lab.load import Load, Records, read_all
from phalanx.lab.processes import HOST, NodeEnded, NotReached, Processes
from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Name
from phalanx.runtime.loop import run


class Pace(NamedTuple):
    """Seconds."""

    calm_s: float
    """Between two faults, for the eye."""
    pause_s: float
    """How long a node stands still: far beyond `Timing.suspect_after`."""


NORMAL = Pace(calm_s=4.5, pause_s=3.0)
SHORT = Pace(calm_s=0.8, pause_s=1.5)


class Fault(NamedTuple):
    """What was done to which node, and the time, in monotonic ns, in which clients may have felt it."""

    what: str
    victim: Name
    since: int
    until: int


def demo(
    short: Annotated[bool, typer.Option("--short", help="The same in some eight seconds.")] = False,
    tls: Tls = None,
) -> None:
    """Start three nodes and some clients, kill a node, pause another, and check what the clients saw.

    Takes about half a minute. Exit status 0 if the clients' history is linearizable, no acknowledged write is lost and
    all three nodes are full members again; 1 if not; 130 after Ctrl-C.
    """
    shown = tls_of(tls, HOST)
    console = Console()
    try:
        held = run(_demo(console, SHORT if short else NORMAL, shown))
    except (NodeEnded, NotReached) as problem:
        console.print(f"[red]the demo broke off:[/] {problem}", highlight=False)
        raise typer.Exit(1) from problem
    except KeyboardInterrupt:
        console.print("interrupted; the nodes are ended")
        raise typer.Exit(130) from None
    raise typer.Exit(0 if held else 1)


async def _demo(console: Console, pace: Pace, tls: TLS | None) -> bool:
    records = Records()
    async with Processes(tls=tls) as nodes:
        scene = Scene(nodes, records)
        screen: Screen = LiveScreen(scene, console) if console.is_terminal else PlainScreen(scene, console)
        async with _background(screen.show(), scene.watch()):
            faults = await _play(scene, pace)
            full = await _end(scene)
        async with connect(*nodes.addresses.values(), tls=tls) as client:
            final = await read_all(client.kv(), records)
    _tell_faults(console, records, faults, nodes)
    return await judge(console, records, final) and full


@contextlib.asynccontextmanager
async def _background(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these beside the block, which ends them.  Raises what broke one of them, if the block itself went well."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, Exception):
            raise failure


async def _play(scene: Scene, pace: Pace) -> list[Fault]:
    """The story."""
    nodes = scene.nodes
    scene.phase = "1: three processes found a cluster"
    scene.say(f"started {', '.join(f'{name} (pid {nodes.pid(name)})' for name in nodes.names)}")
    await scene.wait_until_full(3)
    scene.phase = "2: clients read and write through all three"
    scene.say("six clients put, get, delete and compare-and-set; every call is recorded")
    async with Load(nodes.addresses, records=scene.records, tls=nodes.tls) as load:
        await asyncio.sleep(pace.calm_s)
        eldest = await _eldest(scene)
        scene.phase = f"3: kill -9 {eldest}, the eldest, which decides the views"
        faults = [await _kill(scene, eldest, pace.calm_s)]
        scene.phase = "4: all three again"
        load.rebalance()
        await asyncio.sleep(pace.calm_s)
        paused = await _eldest(scene)
        scene.phase = f"5: pause {paused}, now the eldest: it stands still and does not know"
        faults.append(await _pause(scene, paused, pace.pause_s))
        scene.phase = "6: all three again"
        load.rebalance()
        await asyncio.sleep(pace.calm_s)
    return faults


async def _kill(scene: Scene, victim: Name, calm_s: float) -> Fault:
    nodes = scene.nodes
    since = time.monotonic_ns()
    scene.say(f"kill -9 {victim}", "bold red")
    await nodes.kill(victim)
    await scene.wait_until_full(2)
    await asyncio.sleep(calm_s)
    until = time.monotonic_ns()
    scene.say(f"start {victim} again: its memory is gone, so the others send it the state", "bold")
    await nodes.start(victim)
    await scene.wait_until_full(3)
    scene.say(f"{victim} is a full member again", "bold green")
    return Fault(f"kill -9 {victim}", victim, since, until)


async def _pause(scene: Scene, victim: Name, pause_s: float) -> Fault:
    nodes = scene.nodes
    since = time.monotonic_ns()
    scene.say(f"SIGSTOP {victim} for {pause_s:g} s", "bold red")
    nodes.pause(victim)
    await asyncio.sleep(pause_s)
    until = time.monotonic_ns()
    scene.say(f"SIGCONT {victim}: it thinks that it is still a member, and is told better", "bold")
    nodes.resume(victim)
    await scene.wait_until_full(3)
    scene.say(f"{victim} is a full member again", "bold green")
    return Fault(f"SIGSTOP {victim} for {pause_s:g} s", victim, since, until)


async def _eldest(scene: Scene) -> Name:
    return (await scene.wait_until_full(3)).members[0].name


async def _end(scene: Scene) -> bool:
    """Whether all three are full members of one view in the end."""
    scene.phase = "7: the clients have stopped; every key is read once more, and the history judged"
    try:
        status = await scene.wait_until_full(3)
    except NotReached as problem:
        scene.say(f"✗ {problem}", "bold red")
        return False
    scene.say(f"✓ all three are in view {status.view}: {composition(status)}", "bold green")
    return True


def _tell_faults(console: Console, records: Records, faults: list[Fault], nodes: Processes) -> None:
    table = Table("fault", "any client", "clients of the others", "clients of that node", box=None)
    for fault in faults:
        others = set(nodes.names) - {fault.victim}
        gaps = [records.longest_gap(fault.since, fault.until, homes) for homes in (None, others, {fault.victim})]
        table.add_row(fault.what, *(f"{gap / MILLISECOND:.0f} ms" for gap in gaps))
    console.print("\nThe longest time without a successful write, as seen by", highlight=False)
    console.print(table)
    console.print()


async def judge(console: Console, records: Records, final: dict[str, str]) -> bool:
    """Say what the history shows, and whether all of it is as it must be."""
    verdict = await asyncio.to_thread(check_linearizable, records.operations, KvCas())
    lost, phantoms = records.lost(final), records.phantoms(final)
    linear = verdict.answer is Answer.LINEARIZABLE
    _line(console, linear, f"linearizable: {verdict.operations} calls in {verdict.parts} parts ({verdict.answer})")
    for line in describe(verdict.explanation) if verdict.explanation is not None else ():
        console.print(f"  {line}", highlight=False, markup=False)
    _line(console, not lost, f"acknowledged writes lost: {len(lost)} of {records.acknowledged()}")
    _line(console, not phantoms, f"refused writes that happened all the same: {len(phantoms)}")
    return linear and not lost and not phantoms


def _line(console: Console, holds: bool, text: str) -> None:
    console.print(f"[green]✓[/] {text}" if holds else f"[bold red]✗[/] {text}", highlight=False)
