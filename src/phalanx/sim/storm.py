"""Carries out a plan's faults in a world, and ends all of them when the storm is over."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import assert_never

from phalanx.model.machine import Refused
from phalanx.model.view import Name
from phalanx.sim.conduct import Conduct
from phalanx.sim.failures import (
    Conducted,
    FailStop,
    SlowProcess,
    StateTransitionFailure,
)
from phalanx.sim.faults import (
    Arbitrary,
    BadDisk,
    BitRot,
    ClockOffset,
    ClockRate,
    Crash,
    CrashAll,
    CrashInWrite,
    DiskError,
    DiskLost,
    Fault,
    Flap,
    FullDisk,
    Hindrance,
    Killing,
    Lapse,
    Loss,
    LostSync,
    NodeIndex,
    OneWay,
    Partition,
    Pause,
    Reset,
    Response,
    Ring,
    SlowDisk,
    SlowLink,
    StrayWrite,
    end_ns,
    victims,
)
from phalanx.sim.node import Node
from phalanx.sim.taxonomy import term
from phalanx.sim.world import World

Undo = Callable[[], None]


class Storm:
    """Schedules the faults at once; `heal` ends those that are under way, drops the rest and starts who is down."""

    def __init__(self, world: World, names: Sequence[Name], faults: Iterable[Fault]) -> None:
        self._world = world
        self._nodes = [world.nodes[name] for name in names]
        self._under_way: dict[int, Undo] = {}
        self._begun = 0
        self._conducts: Counter[Name] = Counter()
        self.over = False
        for fault in faults:
            world.at(fault.at_ns, self._begin, fault)

    def heal(self) -> None:
        """From now on the network delivers, clocks are right, disks are quick, and every node runs that may."""
        self.over = True
        for token in list(self._under_way):
            self._end(token)
        self._world.tell("heal")
        for node in self._nodes:
            node.crash_in_write = node.stray = None
            node.derailed = 0
            self._world.start(node.name)

    @property
    def gone(self) -> list[Name]:
        """The nodes that were killed for good."""
        return [node.name for node in self._nodes if node.retired]

    def _begin(self, fault: Fault) -> None:
        if self.over:
            return
        struck = victims(fault, len(self._nodes))
        if not struck:
            return
        for index in struck:
            self._world.coverage.struck(type(fault).__name__, self._nodes[index].name)
        self._world.tell("fault", f"{term(fault)}:", fault)
        if not isinstance(fault, Killing):
            undo = self._impose(fault)
            if undo is not None:
                self._begun += 1
                self._under_way[self._begun] = undo
                self._world.schedule(end_ns(fault) - fault.at_ns, self._end, self._begun)
        elif isinstance(fault, CrashAll):
            apart_ns = fault.apart_ns // max(1, len(self._nodes) - 1)
            for index, node in enumerate(self._nodes):
                self._kill(node, fault.down_ns + apart_ns * index, host=True)
        else:
            self._crash(self._nodes[fault.node], fault)

    def _crash(self, node: Node, fault: Crash | CrashInWrite | DiskLost) -> None:
        match fault:
            case Crash():
                node.retired = node.retired or fault.for_good
                self._kill(node, fault.down_ns, host=fault.host)
            case CrashInWrite():
                self._world.crash_in_next_write(node.name, fault.down_ns)
            case DiskLost():
                self._kill(node, fault.down_ns, host=True, wipe=True)
            case _:
                assert_never(fault)

    def _kill(self, node: Node, down_ns: int | None, *, host: bool = False, wipe: bool = False) -> None:
        self._world.crash(node.name, host=host, wipe=wipe)
        if down_ns is not None:
            self._world.schedule(down_ns, self._world.start, node.name)

    def _end(self, token: int) -> None:
        undo = self._under_way.pop(token, None)
        if undo is not None:
            undo()

    def _impose(self, fault: Hindrance | BadDisk | FailStop | Lapse | Response | Arbitrary) -> Undo | None:
        """Begin it.  Returns what ends it, or None if it is over at once or concerns nobody here."""
        match fault:
            case Partition():
                return self._block(
                    (a, b)
                    for i, a in enumerate(self._nodes)
                    for j, b in enumerate(self._nodes)
                    if i != j and not any(i in group and j in group for group in fault.groups)
                )
            case OneWay():
                sources, targets = self._present(fault.sources), self._present(fault.targets)
                return self._block((a, b) for a in sources for b in targets if a is not b)
            case Ring():
                around = list(zip(self._nodes, self._nodes[1:] + self._nodes[:1], strict=True))
                ways = dict.fromkeys((a.name, b.name) for x, y in around for a, b in ((x, y), (y, x)) if a is not b)
                return self._block((self._world.nodes[a], self._world.nodes[b]) for a, b in ways)
            case Reset():
                if (ends := self._pair(fault.a, fault.b)) is not None:
                    self._world.tell("reset", ends[0].name, ends[1].name)
                    self._world.network.reset(*ends)
                return None
            case Flap():
                ends = self._pair(fault.a, fault.b)
                return None if ends is None else self._flap(*ends, fault.period_ns // 2)
            case SlowLink():
                ends = self._pair(fault.a, fault.b)
                return None if ends is None else self._slow_link(*ends, fault.extra_ns)
            case Loss():
                return self._lose(fault.loss, fault.duplicate)
            case Pause() | ClockOffset() | ClockRate() | SlowDisk() | SlowProcess():
                return self._afflict(fault)
            case BitRot() | StrayWrite() | DiskError() | LostSync() | FullDisk():
                return self._spoil(fault)
            case _:
                return self._misbehave(fault)

    def _misbehave(self, fault: FailStop | StateTransitionFailure | Conducted) -> Undo | None:
        match fault:
            case FailStop():
                self._stop(self._nodes[fault.node])
                return None
            case StateTransitionFailure():
                self._world.wrongs.derail(self._nodes[fault.node].name)
                return None
            case _:
                return self._conduct(fault)

    def _stop(self, node: Node) -> None:
        """Nobody has to find out."""
        node.retired = True
        self._kill(node, None)
        for other in self._nodes:
            if other is not node:
                self._world.arrive(other, Refused(node.address))

    def _conduct(self, fault: Conducted) -> Undo:
        nodes = [self._nodes[index] for index in victims(fault, len(self._nodes))]
        for node in nodes:
            if node.conduct is None:
                node.conduct = Conduct(self._world, node, self._nodes, self._conducts[node.name])
                self._conducts[node.name] += 1
            node.conduct.begin(fault)

        def undo() -> None:
            for node in nodes:
                assert node.conduct is not None
                node.conduct.end(fault)
                self._acquit(node)

        return undo

    def _acquit(self, node: Node) -> None:
        """It is correct again, as soon as what waited to leave has left."""
        conduct = node.conduct
        if conduct is not None and conduct.is_correct:
            node.conduct = None
        elif conduct is not None and (wait_ns := conduct.idle_in_ns) is not None:
            self._world.schedule(wait_ns, self._acquit, node)

    def _afflict(self, fault: Pause | ClockOffset | ClockRate | SlowDisk | SlowProcess) -> Undo:
        world, node = self._world, self._nodes[fault.node]
        match fault:
            case Pause():
                world.pause(node.name)
                return partial(world.resume, node.name)
            case ClockOffset():
                node.clocks.offset_ns += fault.by_ns
                return partial(_step_back, node, fault.by_ns)
            case ClockRate():
                world.set_clock_rate(node.name, node.clocks.rate_ppm + fault.ppm)
                return lambda: world.set_clock_rate(node.name, node.clocks.rate_ppm - fault.ppm)
            case SlowDisk():
                node.disk_extra_ns += fault.extra_ns
                return partial(_speed_up, node, fault.extra_ns)
            case SlowProcess():
                node.slow_ns += fault.extra_ns
                return partial(_hurry, node, fault.extra_ns)
            case _:
                assert_never(fault)

    def _spoil(self, fault: BadDisk) -> Undo | None:
        world, node = self._world, self._nodes[fault.node]
        match fault:
            case BitRot():
                world.tell("bit rot", node.name)
                world.disks.rot(node, fault.place)
                return None
            case StrayWrite():
                node.stray = fault.place
                return None
            case LostSync():
                node.lying += 1
                return partial(_stop_lying, node)
            case DiskError():
                node.failing += 1
                return partial(_mend, world, node)
            case FullDisk():
                world.disks.fill(node, fault.left, warned=fault.warned)
                return partial(world.disks.clear, node)
            case _:
                assert_never(fault)

    def _block(self, ways: Iterable[tuple[Node, Node]]) -> Undo:
        network, blocked = self._world.network, list(ways)
        for a, b in blocked:
            network.block(a, b)

        def undo() -> None:
            for a, b in blocked:
                network.unblock(a, b)

        return undo

    def _flap(self, a: Node, b: Node, half_ns: int) -> Undo:
        network = self._world.network
        cut: Undo | None = None
        ended = False

        def turn() -> None:
            nonlocal cut
            if ended:
                return
            if cut is None:
                network.reset(a, b)
                cut = self._block(((a, b), (b, a)))
            else:
                cut()
                cut = None
            self._world.schedule(max(1, half_ns), turn)

        def undo() -> None:
            nonlocal ended
            ended = True
            if cut is not None:
                cut()

        turn()
        return undo

    def _slow_link(self, a: Node, b: Node, extra_ns: int) -> Undo:
        def change(by_ns: int) -> None:
            self._world.network.slow_down(a, b, by_ns)
            self._world.network.slow_down(b, a, by_ns)

        change(extra_ns)
        return partial(change, -extra_ns)

    def _lose(self, loss: float, duplicate: float) -> Undo:
        network = self._world.network

        def change(sign: int) -> None:
            network.lossy += sign
            network.loss += sign * loss
            network.duplicate += sign * duplicate

        change(1)
        return partial(change, -1)

    def _present(self, indices: Iterable[NodeIndex]) -> list[Node]:
        return [self._nodes[index] for index in indices if index < len(self._nodes)]

    def _pair(self, a: NodeIndex, b: NodeIndex) -> tuple[Node, Node] | None:
        if a == b or max(a, b) >= len(self._nodes):
            return None
        return self._nodes[a], self._nodes[b]


def _step_back(node: Node, by_ns: int) -> None:
    node.clocks.offset_ns -= by_ns


def _stop_lying(node: Node) -> None:
    node.lying -= 1


def _mend(world: World, node: Node) -> None:
    """The disk works again: a process that could not go on, or start, for that reason is started."""
    node.failing -= 1
    if node.barred and not node.failing:
        node.barred = False
        world.start(node.name)


def _hurry(node: Node, extra_ns: int) -> None:
    node.slow_ns -= extra_ns


def _speed_up(node: Node, extra_ns: int) -> None:
    node.disk_extra_ns -= extra_ns
