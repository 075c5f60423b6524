"""The nodes' disks: they hold an output back until what it writes is durable, and all that is behind it.

A disk makes one write at a time, which covers all outputs and all records for the log made before it began (group
commit): first the records, then the small state.  A crash in mid write leaves any prefix of it durable, and perhaps a
torn record, which is cut off; a crash after a write and before the process noticed leaves it durable and nothing of it
said.

Bad disks do to the log what `faults.BadDisk` says, and a process finds there what runtime/log.py would: what cannot be
read costs the last write, or else the whole log.  One that is full (`faults.FullDisk`) refuses a write as a whole, and
takes it later: to the process it is a write that takes long, of which it is told why.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from phalanx.model.clock import MICROSECOND
from phalanx.model.machine import Journal, Logged, Output, Room, Space
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
            self._retry(node)
        node.appends += output.appends
        node.rereads = node.rereads or output.reread
        self._reread(node)
        if node.appends and not node.writing and not node.outbox and not output.writes:
            self._write(node)

    def _reread(self, node: Node) -> None:
        """Give the machine its log again, if it asked for it and all of it is durable."""
        if node.rereads and not (node.appends or node.logging):
            node.rereads = False
            if node.rotten or node.failing:
                self._world.restart(node.name)
            else:
                self._world.arrive(node, self.journal(node))

    def journal(self, node: Node) -> Journal:
        """What a process finds in its log."""
        return Journal(tuple(node.log), tuple(node.cuts), node.log_lost)

    def open(self, node: Node) -> bool:
        """A process that starts reads everything: what is not sound is cut off, or set aside.  False: it cannot."""
        if node.failing:
            node.barred = True
            return False
        if node.rotten and min(node.rotten) >= node.last_write and not node.strayed:
            self._world.tell("log cut", node.name)
            self._keep(node, min(node.rotten))
            node.cuts.append(len(node.log))
        elif node.rotten:
            self._world.tell("log damaged", node.name)
            self._keep(node, 0)
            node.log_lost = True
        return True

    def _keep(self, node: Node, count: int) -> None:
        """Only so many records of the log are left."""
        del node.log[count:]
        node.cuts = [cut for cut in node.cuts if cut < count]
        node.rotten = [place for place in node.rotten if place < count]
        node.strayed = node.strayed and bool(node.rotten)
        node.synced = None
        node.last_write = min(node.last_write, count)

    def wipe(self, node: Node) -> None:
        """Another disk takes its place."""
        self._keep(node, 0)
        node.log_lost = False

    def rot(self, node: Node, place: float) -> None:
        """A record at that fraction of the log cannot be read any more."""
        if node.log:
            node.rotten.append(int(place * len(node.log)))

    def fill(self, node: Node, left: int, *, warned: bool) -> None:
        """So many more records fit on the node's disk."""
        node.filling += 1
        node.room = left if node.room is None else min(left, node.room)
        if warned and not node.warned:
            node.warned = True
            self._tell_room(node)

    def clear(self, node: Node) -> None:
        """What filled the disk is gone."""
        node.filling -= 1
        if not node.filling:
            node.room, node.warned = None, False
            self._retry(node) if node.refused else self._tell_room(node)

    def started(self, node: Node) -> None:
        """A process has begun: it looks at its disk."""
        if node.warned:
            self._tell_room(node)

    def _tell_room(self, node: Node) -> None:
        """As the driver sees it: full once something was refused, low if there is a reserve to know it by."""
        if node.machine is not None:
            space = Space.FULL if node.refused else Space.LOW if node.warned else Space.AMPLE
            free = node.room << 8 if node.room is not None else 1 << 40
            self._world.arrive(node, Room(space, free))

    def _has_room(self, node: Node) -> bool:
        return node.room is None or node.logging <= node.room

    def _retry(self, node: Node) -> None:
        """A write was refused, and there may be room for it now."""
        if node.refused and self._has_room(node):
            node.refused = False
            self._tell_room(node)
            self._world.schedule(MICROSECOND, self._durable, node, node.life, MICROSECOND)

    def _extend(self, node: Node, records: list[Any]) -> None:
        """A write of these has come to the disk."""
        if not records:
            return
        if node.lying and node.synced is None:
            node.synced = len(node.log)
        elif not node.lying:
            node.synced = None
        if node.stray is not None and node.log:
            node.rotten += [int(node.stray * len(node.log)), len(node.log)]
            node.stray, node.strayed = None, True
        node.last_write = len(node.log)
        node.log += records
        if node.room is not None:
            node.room -= len(records)

    def _shorten(self, node: Node, before: int) -> None:
        """Records with lower numbers are needed no more: any number of the oldest of them go, as whole segments do."""
        gone = int((max(0, node.found + before - 1) + 1) * self._random())
        del node.log[:gone]
        node.found -= gone
        if node.room is not None:
            node.room += gone
        node.cuts = [cut - gone for cut in node.cuts if cut > gone]
        node.rotten = [place - gone for place in node.rotten if place >= gone]
        node.strayed = node.strayed and bool(node.rotten)
        node.last_write = max(0, node.last_write - gone)
        node.synced = node.synced - gone if node.synced is not None else None

    def crashed(self, node: Node, *, power: bool) -> None:
        """Called before the node forgets: settle what of the write under way is durable, and, if the host is without
        power, what the disk has only said to be."""
        self._end_write(node)
        if not power or node.synced is None:
            return
        before, least = len(node.log), node.synced
        kept = least + int((before - least + 1) * self._random())
        if kept < before:
            self._world.tell("log unsynced", node.name)
            node.log_lost = node.log_lost or kept < 0  # not even its beginning is there
            self._keep(node, max(0, kept))
            if self._random() < 0.3:
                node.cuts.append(len(node.log))

    def _end_write(self, node: Node) -> None:
        if not node.writing or node.flushed or node.refused:
            return
        if node.logging:
            kept = int((node.logging + 1) * self._random())
            kept = kept if node.room is None else min(kept, node.room)
            self._extend(node, node.appends[:kept])
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
        if node.failing:
            node.barred = True
            self._world.tell("disk failed", node.name)
            self._world.crash(node.name)
            return
        if not self._has_room(node):
            if not node.refused:
                self._world.tell("disk full", node.name)
                node.refused = True
                self._tell_room(node)
            return
        self._extend(node, node.appends[: node.logging])
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
