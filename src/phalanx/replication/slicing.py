"""Large states without long pauses: a node gives snapshots, takes them and replays logs a little in each turn.

A state is given and taken in slices, with entries and heartbeats in between (`replication.saving`).  What follows a state
in the order of its group waits behind it, and so does what a log holds after a restart: it is dealt with in its order,
as much in a turn as a slice is; a command that raises counts for what undoing it takes, and with a conversion to another
version of the class the turn is over.  What fits into one turn is dealt with at once.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from phalanx.model.clock import MILLISECOND
from phalanx.model.events import (
    BarrierReached,
    Delivered,
    Delivery,
    Excluded,
    Founded,
    Installed,
    Rescued,
    Restored,
    Restoring,
    SnapshotTaken,
    SnapshotUnwanted,
    SnapshotWanted,
)
from phalanx.model.view import GroupId
from phalanx.replication.objects import ObjectType
from phalanx.replication.replica import Replica
from phalanx.replication.saving import Restoration
from phalanx.replication.session import Limits
from phalanx.replication.state import HookError

GIVE_GAP_NS = 4 * MILLISECOND
"""From one slice that is given to the next at least, so that what else there is to do has the larger part of the time."""

TAKE_GAP_NS = MILLISECOND
"""The same of slices that are taken: by a host for which nobody waits, or all of whose group do."""


class Giving:
    """Snapshots that this node's replicas are giving, by the token with which they were asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._given: dict[int, tuple[GroupId, bytes | None, Iterator[bytes | None]]] = {}
        """The next slice, if it is there, and the others.  None of them is empty: each says what it is."""
        self._asked: deque[SnapshotWanted] = deque()
        self._at = 0

    @property
    def at(self) -> int | None:
        """When the next slice is due."""
        return self._at if self._asked else None

    def wanted(self, asked: SnapshotWanted, replica: Replica[Any] | None, now: int) -> SnapshotTaken | None:
        """The first slice at once if there is one, since it is of the state as it is now; None: what is asked for comes
        by `act`.  `replica` None: it cannot be served from."""
        if asked.token in self._given:
            self._asked.append(asked)
            return None
        if replica is None:
            return SnapshotTaken(asked.group, asked.token, None)
        slices = replica.slices(self._size)
        try:
            self._given[asked.token] = asked.group, next(slices), slices
        except HookError:  # which the replica has told
            return SnapshotTaken(asked.group, asked.token, None)
        return self._next(asked, now)

    def act(self, now: int) -> list[SnapshotTaken]:
        """The slice that is due, if one is and it is there."""
        if not self._asked or now < self._at:
            return []
        taken = self._next(self._asked.popleft(), now)
        return [taken] if taken is not None else []

    def _next(self, asked: SnapshotWanted, now: int) -> SnapshotTaken | None:
        """None: it takes longer than one turn, and is asked for again."""
        self._at = now + GIVE_GAP_NS
        found = self._given.get(asked.token)
        if found is None:
            return SnapshotTaken(asked.group, asked.token, None)
        group, data, slices = found
        try:
            following = next(slices, b"")
        except HookError:
            del self._given[asked.token]
            return SnapshotTaken(group, asked.token, None)
        if data is None or following is None:
            self._given[asked.token] = group, data or following, slices
            self._asked.appendleft(asked)
            return None
        if not following:
            del self._given[asked.token]
        else:
            self._given[asked.token] = group, following, slices
        return SnapshotTaken(group, asked.token, data, more=bool(following))

    def unwanted(self, token: int) -> None:
        """The rest of it is not asked for."""
        found = self._given.pop(token, None)
        self._asked = deque(asked for asked in self._asked if asked.token != token)
        if found is not None:
            _close(found[2])

    def drop(self, group: GroupId) -> None:
        """The replica is gone: what is still asked for cannot be given."""
        for token in [token for token, found in self._given.items() if found[0] == group]:
            _close(self._given.pop(token)[2])


def _close(slices: Iterator[bytes | None]) -> None:
    slices.close()  # type: ignore[attr-defined]  # it is a generator


class Taking:
    """Deliveries of groups whose state is being restored, or whose log is being replayed: those that wait."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._at = 0
        self._queues: dict[GroupId, deque[Delivery]] = {}
        self._restorations: dict[GroupId, tuple[int, Restoration[Any], BaseException | None]] = {}

    def __contains__(self, group: GroupId) -> bool:
        """Something of that group waits, so its state here is behind."""
        return group in self._queues

    @property
    def busy(self) -> bool:
        """Something waits."""
        return bool(self._queues)

    @property
    def at(self) -> int | None:
        """When to go on."""
        return self._at if self._queues else None

    def begin_turn(self, now: int) -> None:
        """Time has passed: as much may be dealt with as is meant for one turn."""
        if now >= self._at:
            self._left, self._at = self._size, now + TAKE_GAP_NS

    def takes(self, delivery: Delivery, *, begins: bool) -> bool:
        """The delivery, which `begins` a state of a group, brings what that lacks, or comes after it, waits its turn.
        False: it does not."""
        match delivery:
            case Restoring(group) | Restored(group) | Founded(group, _, True) if begins or group in self._queues:
                self._queues.setdefault(group, deque()).append(delivery)
            case Delivered(group) if begins or group in self._queues:
                self._queues.setdefault(group, deque()).append(delivery)
            case Rescued(group) if group in self._queues:
                self._queues[group].append(delivery)
            case SnapshotWanted(group) | SnapshotUnwanted(group) | BarrierReached(group) if group in self._queues:
                self._queues[group].append(delivery)
            case Installed():
                for queue in self._queues.values():
                    queue.append(delivery)
                return False
            case Excluded():
                self._queues.clear()
                self._restorations.clear()
                return False
            case _:
                return False
        return True

    def next(self) -> tuple[GroupId, Delivery] | None:
        """What is to be dealt with now; None: nothing (more) in this turn."""
        if self._left <= 0 or not self._queues:
            return None
        group, queue = next(iter(self._queues.items()))
        delivery = queue.popleft()
        if not queue:
            del self._queues[group]
        self._left -= 1 + _size(delivery)
        return group, delivery

    def spend(self, size: int) -> None:
        """Something has cost more than its size says: as much as so many bytes besides."""
        self._left -= size

    def drop(self, group: GroupId) -> None:
        """This node has nothing more to do with it."""
        self._queues.pop(group, None)
        self._restorations.pop(group, None)

    def keep_only(self, groups: set[GroupId]) -> None:
        """This node is in these alone."""
        for group in (self._queues.keys() | self._restorations.keys()) - groups:
            self.drop(group)

    def restoring(self, slice_: Restoring, kind: ObjectType[Any], limits: Limits) -> None:
        """A slice of a state."""
        token, restoration, error = self._restorations.get(slice_.group, (0, None, None))
        if restoration is None or token != slice_.token:
            restoration, error = Restoration(kind, limits), None
        try:
            if error is None:
                restoration.take(slice_.data)
        except (Exception, SystemExit) as failure:  # of the class's own hooks: it is told with the last slice
            error = failure
        self._restorations[slice_.group] = slice_.token, restoration, error

    def restored(self, last: Restored, new: Restoration[Any]) -> Restoration[Any]:
        """The last slice has come, which may be the first: of `new` then.  Raises whatever one of them met."""
        token, restoration, error = self._restorations.pop(last.group, (0, new, None))
        if token != last.token:
            restoration, error = new, None
        if error is not None:
            raise error
        restoration.take(last.data)
        return restoration


def _size(delivery: Delivery) -> int:
    match delivery:
        case Delivered():
            return sum(map(len, delivery.payloads))
        case Restoring() | Restored():
            return len(delivery.data)
        case _:
            return 0
