"""A virtual world in which machines run: time, turns, disks, and the release discipline of the contract.

Everything that happens is an entry of one heap, ordered by time and then by the order of scheduling.  All chance comes
from generators seeded by the world's seed, one for each purpose, and nothing iterates over anything whose order depends
on hashes: the same arguments give the same run, in any process.

A node takes a turn soon after something came for it: one step with all events that wait, or with some of them.  Its
output is treated as model/machine.py says.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output, Received
from phalanx.model.view import Address, Name
from phalanx.sim.altering import altered
from phalanx.sim.conditions import Conditions
from phalanx.sim.coverage import BEFALLS, Coverage
from phalanx.sim.disks import Disks
from phalanx.sim.network import Network
from phalanx.sim.node import FOREVER, Node, Setup
from phalanx.sim.trace import Trace, where
from phalanx.sim.wrongs import Wrongs

SPINS_MAX = 1_000
"""Wake-ups in a row after each of which the deadline has passed already: more than this is a machine that spins."""

STEPS_MAX = 5_000_000
"""Steps of one run: more than this is a storm of messages that feeds itself."""


class Failure(NamedTuple):
    """Something that must never happen has happened: the run ends."""

    kind: str
    """Stable name of what is wrong, without names and numbers: shrinking keeps it."""
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class World:
    """Nodes are added with `add`, run with `run_until`, `run_for` or `run_while`, and bothered with the rest.

    start: makes the machine of a node, at each start of its process.  It may set `world.nodes[name].application`.
    deliver: the application takes a delivery; what it returns are requests, which the machine gets as events.
    after_step: called after each step of any node, for invariants; an `AssertionError` or a returned text is a failure
        (the part of the text before a colon is its kind).
    codec: encodes a message and decodes it again; used if the conditions say so.
    fingerprint: equal for equal messages; used if the conditions say so, to find messages changed after sending.
    alter, derail: what faulty processes say, and do (`wrongs`).

    `history` is for what applications observed, in order; `notes` counts the machines' notes by name, and faults.
    """

    def __init__(
        self,
        seed: int | str,
        start: Callable[[Setup], Machine],
        *,
        deliver: Callable[[Node, Any], Iterable[Any] | None] | None = None,
        after_step: Callable[[Node, Output], str | None] | None = None,
        conditions: Conditions | None = None,
        codec: Callable[[Any], Any] | None = None,
        fingerprint: Callable[[Any], Any] = repr,
        trace: Trace | None = None,
        alter: Callable[[Any, random.Random], Any] = altered,
        derail: Callable[[Node, random.Random], str | None] | None = None,
    ) -> None:
        self.seed = seed
        self.conditions = conditions or Conditions()
        self.now = 0
        self.heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.sequence = 0
        self.nodes: dict[Name, Node] = {}
        self.history: list[Any] = []
        self.notes: Counter[str] = Counter()
        self.coverage = Coverage()
        self.failures: list[Failure] = []
        self.steps = 0
        self.trace = trace
        self.recording = trace.recording if trace is not None else None
        self._start = start
        self._deliver = deliver
        self._after_step = after_step
        self._turns = random.Random(f"{seed}/turns").random
        marks = fingerprint if self.conditions.fingerprints else None
        codec = codec if self.conditions.codec else None
        self.wrongs = Wrongs(self, alter, derail, codec)
        self.disks = Disks(self, f"{seed}/disks", self.conditions, marks)
        self.network = Network(self, f"{seed}/network", self.conditions, codec, marks)

    # --- time -----------------------------------------------------------------------------------------------------

    def schedule(self, delay_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` that much later."""
        self.sequence += 1
        heappush(self.heap, (self.now + delay_ns, self.sequence, action, arguments))

    def at(self, time_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` at that time, or now if it is past."""
        self.schedule(max(0, time_ns - self.now), action, *arguments)

    def run_until(self, time_ns: int) -> None:
        """Let everything happen up to that time, or up to the first failure."""
        heap = self.heap
        while heap and heap[0][0] <= time_ns and not self.failures:
            self.now, _, action, arguments = heappop(heap)
            action(*arguments)
        if not self.failures:
            self.now = max(self.now, time_ns)

    def run_for(self, time_ns: int) -> None:
        self.run_until(self.now + time_ns)

    def run_while(self, condition: Callable[[], bool], limit_ns: int, every_ns: int = 10 * MILLISECOND) -> bool:
        """Run as long as the condition holds, looked at every so often.  False if it still holds after `limit_ns`."""
        end = self.now + limit_ns
        while not self.failures and condition():
            if self.now >= end:
                return False
            self.run_until(min(end, self.now + every_ns))
        return True

    def fail(self, kind: str, text: str) -> None:
        """End the run."""
        self.failures.append(Failure(kind, text))
        if self.trace is not None:
            self.trace.fail(self.now, kind, text)

    def tell(self, what: str, *detail: Any) -> None:
        """Something that the world does: counted with the notes as `sim.<what>`, and traced."""
        self.notes[f"sim.{what}"] += 1
        if what in BEFALLS:
            self.coverage.befell(detail[0], what)
        if self.trace is not None:
            self.trace.tell(self.now, what, detail)

    # --- processes ------------------------------------------------------------------------------------------------

    def add(self, name: Name, address: Address = "", *, start: bool = True) -> Node:
        """A new node (at an address equal to its name if none is given), started within `stagger_ns` if so wished."""
        if name in self.nodes:
            raise ValueError(f"two nodes named {name}")
        node = self.nodes[name] = Node(name, address or name)
        self.network.register(node)
        if start:
            self.schedule(int(self.conditions.stagger_ns * self._turns()), self.start, name)
        return node

    def start(self, name: Name) -> None:
        """Start the process of a node that is down and not retired, with what its disk holds."""
        node = self.nodes[name]
        if node.machine is not None or node.retired:
            return
        if not self.disks.open(node):
            self.tell("disk unreadable", name)
            return
        node.life += 1
        node.host_up = True
        rng = random.Random(f"{self.seed}/{name}/{node.life}")
        node.clocks.reboot(self.now, rng.randrange(1_000_000 * SECOND))
        self.tell("start", name, f"life={node.life}")
        node.found = len(node.log)
        journal = self.disks.journal(node)
        setup = Setup(name, node.address, node.life, node.durable, rng, node.clocks.read(self.now), journal)
        try:
            machine = self._start(setup)
        except Exception as error:
            self.raised(node, "start", error)
            return
        node.begin(machine)
        self._set_alarm(node, machine)
        self.disks.started(node)

    def crash(self, name: Name, *, host: bool = False, wipe: bool = False) -> None:
        """End the process at once.  `host`: the whole host is without power, so no peer is told.  `wipe`: its disk is
        lost as well.  A node that is down already only loses its disk."""
        node = self.nodes[name]
        if node.machine is not None:
            self.tell("power off" if host else "crash", name)
            self.disks.crashed(node, power=host)
            node.forget()
            self.network.crashed(node, host=host)
        node.crash_in_write = None
        node.host_up = node.host_up and not host
        if wipe:
            self.tell("disk lost", name)
            node.durable = None
            self.disks.wipe(node)

    def restart(self, name: Name, after_ns: int = 0) -> None:
        """End the process, in a moment, and start it again that much later.  May be called from `deliver`."""
        self.schedule(MICROSECOND, self._restart, name, self.nodes[name].life, after_ns)

    def _restart(self, name: Name, life: int, after_ns: int) -> None:
        if self.nodes[name].life == life:
            self.crash(name)
            self.schedule(after_ns, self.start, name)

    def crash_in_next_write(self, name: Name, down_ns: int) -> None:
        """Crash between the beginning of the node's next write and the release of what waits for it."""
        self.nodes[name].crash_in_write = down_ns

    def pause(self, name: Name) -> None:
        """Stop the process as SIGSTOP does, until `resume`; calls are counted.  What comes meanwhile waits."""
        self.nodes[name].paused += 1
        self.tell("pause", name)

    def resume(self, name: Name) -> None:
        """All that came during the pause is there at once: finished writes, events in one turn, deadlines passed."""
        node = self.nodes[name]
        assert node.paused, f"{name} is not paused"
        node.paused -= 1
        self.tell("resume", name)
        if node.paused or node.machine is None:
            return
        self.disks.resumed(node)
        if node.inbox:
            node.turn_due = True
            self.schedule(2 * MICROSECOND, self._turn, node, node.life, True)
        else:
            self._set_alarm(node, node.machine)

    def readdress(self, name: Name, address: Address) -> None:
        """A node that is down will come back at another address."""
        self.network.readdress(self.nodes[name], address)

    def set_clock_rate(self, name: Name, rate_ppm: int) -> None:
        """Change the rate of the node's monotonic clock."""
        node = self.nodes[name]
        node.clocks.set_rate(self.now, rate_ppm)
        if node.machine is not None:
            node.wake_at = FOREVER
            self._set_alarm(node, node.machine)

    # --- turns ----------------------------------------------------------------------------------------------------

    def request(self, name: Name, *events: Any) -> bool:
        """The application at the node makes requests.  False if the process is down: nothing happens."""
        node = self.nodes[name]
        for event in events:
            self.arrive(node, event)
        return node.machine is not None

    def arrive(self, node: Node, event: Any) -> None:
        """Something for the node's next turn; lost if the process is down."""
        if node.machine is None:
            return
        node.inbox.append(event)
        if not (node.turn_due or node.paused or (node.can_wait and type(event) is Received and node.can_wait(event))):
            node.turn_due = True
            self.sequence += 1
            at = self.now + 1 + int(self.conditions.turn_ns * self._turns()) + node.slow_ns
            heappush(self.heap, (at, self.sequence, self._turn, (node, node.life, False)))

    def _turn(self, node: Node, life: int, all_at_once: bool) -> None:
        if node.life != life or node.machine is None:
            return
        node.turn_due = False
        events = node.inbox
        if node.paused or not events:
            return
        if len(events) > 1 and not all_at_once and self._turns() >= self.conditions.grouped:
            taken = 1 + int(len(events) * self._turns() * self._turns())
            node.inbox = events[taken:]
            events = events[:taken]
            if node.inbox:
                node.turn_due = True
                self.schedule(MICROSECOND + node.slow_ns, self._turn, node, life, False)
        else:
            node.inbox = []
        if node.derailed:
            events = self.wrongs.deviate(node, events)
        self._step(node, node.machine, events)

    def _wake(self, node: Node, life: int) -> None:
        machine = node.machine
        if node.life != life or self.now != node.wake_at or machine is None:
            return
        node.wake_at = FOREVER
        if node.paused or node.turn_due:
            return  # the resumption, or the turn, looks at the deadline again
        deadline = machine.deadline
        if deadline is None:
            return
        if node.clocks.mono(self.now) < deadline:
            self._set_alarm(node, machine)
            return
        events, node.inbox = node.inbox, []
        self._step(node, machine, events)
        if node.machine is machine and (deadline := machine.deadline) is not None:
            node.spins = node.spins + 1 if deadline <= node.clocks.mono(self.now) else 0
            if node.spins > SPINS_MAX:
                self.fail("spin", f"{node.name} wants to be stepped again and again at {deadline}")

    def _set_alarm(self, node: Node, machine: Machine) -> None:
        deadline = machine.deadline
        if deadline is None:
            return
        at = node.clocks.when(deadline)
        if at >= node.wake_at:
            return  # an earlier alarm is set, and will look again
        if at <= self.now:
            at = self.now + MICROSECOND
        at += node.slow_ns
        if self.conditions.timer_late_ns:
            at += int(self.conditions.timer_late_ns * self._turns())
        if at < node.wake_at:
            node.wake_at = at
            self.sequence += 1
            heappush(self.heap, (at, self.sequence, self._wake, (node, node.life)))

    def _step(self, node: Node, machine: Machine, events: Sequence[Any]) -> None:
        while self._step_once(node, machine, events):
            events = ()

    def _step_once(self, node: Node, machine: Machine, events: Sequence[Any]) -> bool:
        """Whether the machine is to be stepped again in the same turn."""
        self.steps += 1
        if self.steps > STEPS_MAX:
            self.fail("runaway", f"more than {STEPS_MAX} steps")
            return False
        try:
            output = machine.step(events, node.clocks.read(self.now))
        except Exception as error:
            self.raised(node, "step", error)
            return False
        if self.trace is not None:
            self.trace.step(self.now, node, events, output)
        life = node.life
        self._carry_out(node, output)
        if self._after_step is not None:
            self._look(node, output)
        if node.machine is not machine or node.life != life:
            return False
        if not output.again:
            self._set_alarm(node, machine)
        return output.again

    def _carry_out(self, node: Node, output: Output) -> None:
        if output.notes:
            for note in output.notes:
                self.notes[note.what] += 1
                self.coverage.noted(node.name, note.what)
        for drop in output.drops:
            self.tell("drop", node.name, drop.source, drop.reason)
            self.network.drop(node, drop.source)
        if output.eager:
            for send in output.eager:
                self.network.send(node, send)
        if output.concerns_log:
            self.disks.append(node, output)
        if output.writes or node.outbox:
            self.disks.submit(node, output)
        elif output.sends or output.deliveries:
            self.release(node, output)

    def _look(self, node: Node, output: Output) -> None:
        assert self._after_step is not None
        try:
            wrong = self._after_step(node, output)
        except Exception as error:
            self.raised(node, "invariant", error)
            return
        if wrong:
            kind, _, text = wrong.partition(":")
            self.fail(f"invariant {kind}", f"at {node.name}: {text.strip() or kind}")

    def raised(self, node: Node, doing: str, error: Exception) -> None:
        """A machine, or the scenario, raised what it must not: that is a failure."""
        self.fail(f"{doing} {type(error).__name__}", f"at {node.name}: {error or 'no text'} ({where(error)})")

    # --- releases -------------------------------------------------------------------------------------------------

    def release(self, node: Node, output: Output) -> None:
        """Let an output go whose time has come: for the disks."""
        for send in output.sends:
            self.network.send(node, send)
        if output.deliveries and self._deliver is not None:
            for delivery in output.deliveries:
                if self.recording is not None:
                    self.recording.handed_over(self.now, node, delivery)
                try:
                    requests = self._deliver(node, delivery)
                except Exception as error:
                    self.raised(node, "deliver", error)
                    return
                for request in requests or ():
                    self.arrive(node, request)
                if node.machine is None:
                    return
