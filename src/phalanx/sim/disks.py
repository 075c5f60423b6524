"""The nodes' disks: they hold an output back until what it writes is durable, and all that is behind it.

A disk makes one write at a time, which covers all outputs and all records for the log made before it began (group
commit): first the records, then the small state.  A crash in mid write leaves any prefix of it durable, and perhaps a
torn record, which is cut off; a crash after a write and before the process noticed leaves it durable and nothing of it
said.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from phalanx.model.clock import MICROSECOND
from phalanx.model.machine import Journal, Logged, Output
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node

if TYPE_CHECKING:
    from phalanx.sim.world import World


class Disks:
    """All disks of a world; what is on them is in `Node.durable`."""

    def __init__(
        self, world: "World", seed: str, conditions: Conditions, fingerprint: Callable[[Any], Any] | None
    ) -> None:
        self._world = world
        self._random = random.Random(seed).random
        self._conditions = conditions
        self._fingerprint = fingerprint

    def submit(self, node: Node, output: Output) -> None:
        """An output that writes, or that is behind one that does."""
        node.outbox.append(output)
        if self._fingerprint is not None:
            node.marks.append(self._fingerprint((output.writes, output.sends)))
        if not node.writing:
            self._write(node)

    def append(self, node: Node, output: Output) -> None:
        """An output that has something for the log.  Called before `submit`."""
        if output.forget is not None:
            self._shorten(node, output.forget)
        node.appends += output.appends
        node.rereads = node.rereads or output.reread
        self._reread(node)
        if node.appends and not node.writing and not node.outbox and not output.writes:
            self._write(node)

    def _reread(self, node: Node) -> None:
        """Give the machine its log again, if it asked for it and all of it is durable."""
        if node.rereads and not (node.appends or node.logging):
            node.rereads = False
            self._world.arrive(node, Journal(tuple(node.log), tuple(node.cuts)))

    def _shorten(self, node: Node, before: int) -> None:
        """Records with lower numbers are needed no more: any number of the oldest of them go, as whole segments do."""
        gone = int((max(0, node.found + before - 1) + 1) * self._random())
        del node.log[:gone]
        node.found -= gone
        node.cuts = [cut - gone for cut in node.cuts if cut > gone]

    def crashed(self, node: Node) -> None:
        """Called before the node forgets: settle what of the write under way is durable."""
        if not node.writing or node.flushed:
            return
        if node.logging:
            kept = int((node.logging + 1) * self._random())
            node.log += node.appends[:kept]
            if kept < node.logging:
                if self._random() < 0.5:
                    node.cuts.append(len(node.log))
                return
        writes = node.writes_under_way()
        kept = int((len(writes) + 1) * self._random())
        if kept:
            node.durable = writes[kept - 1]

    def resumed(self, node: Node) -> None:
        """A write may have ended while the process was paused."""
        if node.flushed:
            self._world.schedule(MICROSECOND, self._written, node, node.life)

    def _write(self, node: Node) -> None:
        """Begin a write that covers all that waits."""
        node.writing = True
        node.flushing, node.logging = len(node.outbox), len(node.appends)
        conditions, schedule = self._conditions, self._world.schedule
        takes = conditions.write_min_ns + int(conditions.write_spread_ns * self._random()) + node.disk_extra_ns
        late = int(conditions.release_spread_ns * self._random()) + 1
        schedule(takes, self._durable, node, node.life, late)
        if node.crash_in_write is not None:
            moment = int((takes + late) * self._random())
            schedule(moment, self._crash_in_write, node, node.life, node.crash_in_write)
            node.crash_in_write = None

    def _crash_in_write(self, node: Node, life: int, down_ns: int) -> None:
        if node.life == life and node.machine is not None:
            self._world.crash(node.name)
            self._world.schedule(down_ns, self._world.start, node.name)

    def _durable(self, node: Node, life: int, late_ns: int) -> None:
        if node.life != life or node.machine is None:
            return
        node.log += node.appends[: node.logging]
        if writes := node.writes_under_way():
            node.durable = writes[-1]
        node.flushed = True
        self._world.schedule(late_ns, self._written, node, life)

    def _written(self, node: Node, life: int) -> None:
        """The process notices that its write is durable: release what waited for it, in order."""
        if node.life != life or node.machine is None or node.paused or not node.flushed:
            return
        count, node.flushing, node.flushed, node.writing = node.flushing, 0, False, False
        outbox, world = node.outbox, self._world
        if node.logging:
            del node.appends[: node.logging]
            node.logged += node.logging
            node.logging = 0
            world.arrive(node, Logged(node.logged))
            self._reread(node)
        while node.machine is not None and outbox and (count > 0 or not outbox[0].writes):
            count -= 1
            output = outbox.popleft()
            if world.trace is not None:
                world.trace.release(world.now, node, output)
            if self._fingerprint is not None and node.marks.popleft() != self._fingerprint(
                (output.writes, output.sends)
            ):
                world.fail("mutation", f"an output of {node.name} was changed while it waited for its write")
            world.release(node, output)
        if node.machine is not None and (node.outbox or node.appends) and not node.writing:
            self._write(node)
