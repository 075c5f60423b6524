"""The application of the scenarios: the list of the payloads delivered, of each group; and the history of all of them."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from phalanx.group.machine import GroupMachine
from phalanx.model.clock import MILLISECOND
from phalanx.model.events import (
    BarrierFailed,
    BarrierReached,
    Consumed,
    Delivered,
    Excluded,
    Founded,
    GroupLost,
    GroupSuspended,
    Installed,
    Restored,
    SnapshotTaken,
    SnapshotWanted,
)
from phalanx.model.history import AskedToLeave, SawFounding, SawMessage, SawState, SawView, Stopped
from phalanx.model.view import GroupId, Member, Name, View
from phalanx.sim.node import Node
from tests.group.stage import Stage

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(list[bytes]).decode


class App:
    """The application of one process."""

    def __init__(self, process: Member) -> None:
        self.process = process
        self.view: View | None = None
        self.state: dict[GroupId, list[bytes]] = {}
        self.log: list[Any] = []
        """Every delivery."""


class Read:
    """A barrier: what had been acknowledged anywhere when it began, and how it ended."""

    def __init__(self, group: GroupId, owed: int) -> None:
        self.group = group
        self.owed = owed
        self.reached: bool | None = None
        """None: not answered yet."""


class Applications:
    """The applications of all nodes of a world."""

    world: Stage

    def __init__(self, returns: Callable[[Name], bool]) -> None:
        """`returns`: whether a node that is excluded comes back as a new incarnation."""
        self.returns = returns
        self.reads: list[Read] = []
        self.acked: dict[GroupId, int] = {}
        """By group: how many payloads some sender's own delivery has acknowledged."""
        self.on_delivery: Callable[[Name, Delivered], Iterable[Any]] = _does_nothing
        """What the application does in a delivery callback."""
        self._processes: dict[Name, Member] = {}

    def asked_to_leave(self, name: Name) -> None:
        if name in self._processes:
            self.world.history.append(AskedToLeave(self._processes[name]))

    def stopped(self, name: Name, *, crashed: bool, left: bool = False) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            self.world.history.append(Stopped(process, crashed, left))

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any]:
        if node.name in self.world.doomed:
            return ()
        app: App = node.application
        app.log.append(delivery)
        history = self.world.history
        match delivery:
            case Installed(view):
                app.process = self._processes[node.name] = _machine(node).me
                app.view = view
                history.append(SawView(app.process, view))
            case Founded(group, _, replayed):
                app.state[group] = []
                history.append(SawState(app.process, group, ()) if replayed else SawFounding(app.process, group))
            case Delivered():
                return self._take(node.name, app, delivery)
            case SnapshotWanted(group, token):
                return (SnapshotTaken(group, token, _encode(app.state[group])),)
            case Restored(group, data):
                app.state[group] = _decode_state(data)
                history.append(SawState(app.process, group, tuple(app.state[group])))
            case BarrierReached(group, token):
                read = self.reads[token]
                read.reached = True
                if len(app.state[group]) < read.owed:
                    self.world.fail("stale read", f"{app.process} sees {len(app.state[group])} of {read.owed}")
            case BarrierFailed(_, token):
                self.reads[token].reached = False
            case GroupLost(group, _) | GroupSuspended(group, _):
                app.state.pop(group, None)
            case Excluded(left=left):
                self.stopped(node.name, crashed=False, left=left)
                if self.returns(node.name):
                    self.world.restart(node.name, 100 * MILLISECOND)
        return ()

    def _take(self, name: Name, app: App, delivered: Delivered) -> Iterable[Any]:
        group, view, sender, payloads = delivered.group, delivered.view, delivered.sender, delivered.payloads
        state = app.state[group]
        state += map(bytes, payloads)
        assert app.view is not None
        if view < app.view.id:  # replayed on top of a snapshot: a part of the state that was transferred
            self.world.history.append(SawState(app.process, group, tuple(state)))
        else:
            self.world.history += [SawMessage(app.process, group, view, sender, bytes(p)) for p in payloads]
        if sender == app.process:
            self.acked[group] = max(self.acked.get(group, 0), len(state))
        yield from self.on_delivery(name, delivered)
        yield Consumed(group, sum(map(len, payloads)))


def _machine(node: Node) -> GroupMachine:
    assert isinstance(node.machine, GroupMachine)
    return node.machine


def _does_nothing(_name: Name, _delivered: Delivered) -> Iterable[Any]:
    return ()
