"""What `phalanx demo` shows: a live display on a terminal, plain lines elsewhere."""

import asyncio
import time
from collections import deque
from typing import NamedTuple, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from phalanx.lab.load import Records, percentile
from phalanx.lab.processes import START_S_MAX, NotReached, Processes, Statuses, is_full
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.history import Outcome
from phalanx.model.view import Name
from phalanx.node.status import Status

POLL_S = 0.06
"""Between two looks at the nodes: views that live shorter are missed."""

FRAMES_PER_S = 8
PLAIN_S = 2.0
"""Between two lines of figures where there is no terminal."""

EVENTS_SHOWN = 14
OTHER_LINES = 13
"""Of the display, above and around the events."""

BARS = "▁▂▃▄▅▆▇█"
STYLES = {"member": "green", "learner": "yellow", "fenced": "yellow", "out": "red"}


class Event(NamedTuple):
    """Something that happened, `at` seconds after the beginning."""

    at: float
    text: str
    style: str


class Scene:
    """All that is shown, and the watching of the nodes."""

    def __init__(self, nodes: Processes, records: Records) -> None:
        self.nodes = nodes
        self.records = records
        self.statuses: Statuses = {}
        self.events: deque[Event] = deque(maxlen=1000)
        self.phase = ""
        self.on_event = self.events.append
        self._began = time.monotonic()
        self._view = 0
        self._incarnations: dict[Name, tuple[int, int | None]] = {}
        self._looked = asyncio.Event()

    @property
    def at(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str, style: str = "") -> None:
        """Something happened now."""
        self.on_event(Event(self.at, text, style))

    async def watch(self) -> None:
        """Ask the nodes what they are, again and again, and tell what changed; until cancelled."""
        while True:
            statuses = await self.nodes.statuses()
            for name, status in statuses.items():
                if status is not None:
                    self._compare(name, status)
            self.statuses = statuses
            self._looked.set()
            self._looked = asyncio.Event()
            await asyncio.sleep(POLL_S)

    async def wait_until_full(self, count: int) -> Status:
        """Until the nodes that run agree on a view of that many full members; what one of them says.  What is told of
        them is told by then.  Raises `NotReached`."""
        try:
            async with asyncio.timeout(START_S_MAX):
                while not is_full(self.statuses, count):
                    await self._looked.wait()
        except TimeoutError:
            raise NotReached(f"no view of {count} full members within {START_S_MAX:g} s") from None
        return next(status for status in self.statuses.values() if status is not None)

    def _compare(self, name: Name, status: Status) -> None:
        before, present = self._incarnations.get(name), (status.incarnation, self.nodes.pid(name))
        if before is not None and before != present:
            why = "learned that it is out, and returns" if before[1] == present[1] else "is a new process, known"
            self.say(f"{name} {why} as incarnation {status.incarnation}")
        self._incarnations[name] = present
        if status.view > self._view:
            self._view = status.view
            self.say(f"view {status.view}: {composition(status)}", "green")


def composition(status: Status) -> str:
    """A view in words, eldest first."""
    members = " ".join(member.name for member in status.members)
    learners = " ".join(member.name for member in status.learners)
    return f"members {members}" + (f", learner {learners} (no vote until it has the state)" if learners else "")


class Screen(Protocol):
    """Shows a scene until cancelled."""

    async def show(self) -> None:
        """Show it."""


class LiveScreen:
    """For a terminal."""

    def __init__(self, scene: Scene, console: Console) -> None:
        self._scene = scene
        self._console = console

    async def show(self) -> None:
        """Redraw until cancelled; the last picture stays."""
        with Live(console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(picture(self._scene, self._console.height), refresh=True)
                    await asyncio.sleep(1 / FRAMES_PER_S)
            finally:
                live.update(picture(self._scene, self._console.height), refresh=True)


class PlainScreen:
    """For a pipe or a log: events as they come, and figures now and then."""

    def __init__(self, scene: Scene, console: Console) -> None:
        self._scene = scene
        self._console = console
        scene.on_event = self._print

    async def show(self) -> None:
        """A line of figures now and then, until cancelled."""
        while True:
            await asyncio.sleep(PLAIN_S)
            self._print(Event(self._scene.at, f"  {figures(self._scene.records)}", ""))

    def _print(self, event: Event) -> None:
        self._scene.events.append(event)
        self._console.print(f"{event.at:6.2f} s  {event.text}", highlight=False, soft_wrap=True)


def picture(scene: Scene, height: int) -> RenderableType:
    """The whole display at this moment, for a terminal of that many lines."""
    shown = max(3, min(EVENTS_SHOWN, height - OTHER_LINES))
    events = Text(no_wrap=True, overflow="ellipsis")
    for event in list(scene.events)[-shown:]:
        events.append(f"{event.at:6.2f} s  ", "dim")
        events.append(f"{event.text}\n", event.style)
    events.right_crop(1)
    return Group(
        Panel(_nodes(scene), title="three processes, one replicated store", border_style="blue"),
        Panel(_load(scene.records), title="clients", border_style="blue"),
        Panel(events, title=scene.phase or "events", border_style="blue", height=shown + 2),
    )


def _nodes(scene: Scene) -> Table:
    table = Table("node", "process", "it says it is", "view", "full members", "learners", box=None, expand=True)
    for name in scene.nodes.names:
        status = scene.statuses.get(name)
        pid = scene.nodes.pid(name)
        process = Text("killed", "red") if pid is None else Text(f"pid {pid}", "green")
        if pid is not None and not scene.nodes.is_running(name):
            process = Text(f"pid {pid}, paused", "yellow")
        if status is None:
            table.add_row(name, process, Text("no answer", "red"), "", "", "")
        else:
            members = " ".join(member.name for member in status.members)
            learners = " ".join(member.name for member in status.learners)
            state = Text(status.state, STYLES.get(status.state, ""))
            table.add_row(name, process, state, str(max(status.view, 0)), members, learners)
    return table


def _load(records: Records) -> Text:
    rates = records.rates(time.monotonic_ns(), 60)
    top = max(1, *rates)
    bars = "".join(BARS[min(len(BARS) - 1, rate * len(BARS) // (top + 1))] if rate else " " for rate in rates)
    return Text.assemble((f"{bars}", "green"), "  6 s\n", figures(records))


def figures(records: Records) -> str:
    """Of the last second, and of the whole run."""
    now = time.monotonic_ns()
    latencies = records.latencies(now - SECOND)
    p50, p99 = (percentile(latencies, share) / MILLISECOND for share in (0.5, 0.99))
    return (
        f"{sum(records.rates(now, 10))} calls/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms; in all "
        f"{records.count(Outcome.OK)} done, {records.count(Outcome.FAIL)} refused, "
        f"{records.count(Outcome.INFO)} of unknown outcome"
    )
