"""A gateway's watches: who follows which objects, and how far each has been told (SCENARIOS 33, 40).

Nothing is queued for a watch.  It has a position in the object's history and a *credit* of batches; while it has credit
it is told what lies beyond its position, whenever a key of its range is touched, and when the credit is used up it stays
where it is until the client has taken something.  So a slow client costs a number, and when the history is compacted
below its position it gets the error that the feed raises.

Watches that have been told everything share one position, that of the last look at the object (`_Followed.position`): a
change costs nothing for the watches that it does not concern.

Each batch says which positions it covers, so a client that loses one notices.  A watch that was told nothing for
`PROGRESS_NS` is told so, with the position that it has come to: by this the client knows that the node lives, and may
forget what it would need to begin again.  Such a sign uses credit like any batch, so a client that never reads is sent a
bounded number of them.
"""

from collections import OrderedDict
from typing import Any

from phalanx.model.clock import SECOND
from phalanx.model.machine import Send
from phalanx.model.view import Address, GroupId
from phalanx.replication.actions import Refusal
from phalanx.replication.interests import Interests
from phalanx.replication.messages import Batch, Declined, Reason, Reply, Watch
from phalanx.replication.objects import Operation
from phalanx.replication.outcome import raised
from phalanx.replication.replica import Replica

PROGRESS_NS = SECOND
"""An idle watch hears of its node so often."""

WATCHES_PER_CLIENT = 1_024
"""Watches of one connection."""

WATCHES_MAX = 100_000
"""Watches of one node."""

CREDIT_MAX = 64
"""Batches that a client may ask for at once."""


class _Watch:
    """One watch.  `told`: up to where the client was told.  `behind`: there may be something beyond `position`.
    `cluster`: what its batches say."""

    __slots__ = (
        "arguments",
        "behind",
        "cluster",
        "credit",
        "group",
        "number",
        "operation",
        "position",
        "request",
        "source",
        "told",
    )

    def __init__(
        self,
        number: int,
        source: Address,
        request: int,
        group: GroupId,
        operation: Operation,
        arguments: tuple[Any, ...],
        position: int,
        credit: int,
        cluster: int,
    ) -> None:
        self.cluster = cluster
        self.number = number
        self.source = source
        self.request = request
        self.group = group
        self.operation = operation
        self.arguments = arguments
        self.position = self.told = position
        self.credit = min(credit, CREDIT_MAX)
        self.behind = True

    @property
    def interest(self) -> tuple[bytes, bytes | None]:
        """The range of keys: the first arguments of every feed."""
        return self.arguments[0], self.arguments[1]


class _Followed:
    """One object and who follows it."""

    def __init__(self, replica: Replica[Any], position: int) -> None:
        self.replica = replica
        self.interests = Interests()
        self.position = position
        self.ready: dict[int, None] = {}
        """Watches that are behind and have credit."""
        self.watches: dict[int, _Watch] = {}


class Feeds:
    """See the module's text.  Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._followed: dict[GroupId, _Followed] = {}
        self._watches: dict[tuple[Address, int], _Watch] = {}
        self._of_client: dict[Address, set[int]] = {}
        self._told_at: OrderedDict[int, tuple[_Watch, int]] = OrderedDict()
        """Watches with credit, the one that was told something longest ago first."""
        self._number = 0
        self._sends: list[Send] = []

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, source: Address, asked: Watch, replica: Replica[Any], now: int, cluster: int = 0) -> Refusal | None:
        """A watch begins, or is refused.  `cluster`: this node's, if the client did not say that one (see `messages`)."""
        group = replica.group.id
        if asked.identity > group:
            return Refusal(Reason.ELSEWHERE, "this node knows only a predecessor of the group")
        if 0 < asked.identity < group:
            return Refusal(Reason.LOST, f"all hosts of group {asked.group} failed, and it was founded anew")
        if len(self._watches) >= WATCHES_MAX or len(self._of_client.get(source, ())) >= WATCHES_PER_CLIENT:
            return Refusal(Reason.BUSY, "too many watches")
        found = replica.feed(asked.operation, asked.types, asked.arguments)
        if isinstance(found, Refusal):
            return found
        operation, arguments = found
        latest = replica.hooks.position(replica.kind, replica.object)
        if isinstance(latest, BaseException):
            self._sends.append(Send((source,), Reply(asked.request, raised(latest), replica.stamp)))
            return None
        followed = self._followed.get(group)
        if followed is None:
            followed = self._followed[group] = _Followed(replica, latest)
        position = asked.position if asked.position >= 0 else latest
        self._number += 1
        of = (self._number, source, asked.request, group)
        watch = _Watch(*of, operation, arguments, position, asked.credit, cluster)
        self._watches[source, asked.request] = watch
        self._of_client.setdefault(source, set()).add(asked.request)
        followed.watches[watch.number] = watch
        followed.interests.add(watch.number, *watch.interest)
        if watch.credit > 0:
            followed.ready[watch.number] = None
            self._told_at[watch.number] = (watch, now - PROGRESS_NS)  # it is told at once where it is
            self._told_at.move_to_end(watch.number, last=False)
        return None

    def more(self, source: Address, request: int, credit: int, now: int) -> None:
        """The client has taken so many batches."""
        watch = self._watches.get((source, request))
        if watch is None or credit <= 0:
            return
        if watch.credit == 0:
            self._told_at[watch.number] = (watch, now)
            if watch.behind:
                self._followed[watch.group].ready[watch.number] = None
        watch.credit = min(watch.credit + credit, CREDIT_MAX)

    def end(self, source: Address, request: int) -> None:
        """The watch is over, if there is one."""
        watch = self._watches.pop((source, request), None)
        if watch is None:
            return
        self._of_client[source].discard(request)
        if not self._of_client[source]:
            del self._of_client[source]
        followed = self._followed[watch.group]
        followed.interests.remove(watch.number, *watch.interest)
        del followed.watches[watch.number]
        followed.ready.pop(watch.number, None)
        self._told_at.pop(watch.number, None)
        if not followed.watches:
            del self._followed[watch.group]

    def forget(self, source: Address) -> None:
        """The connection is gone."""
        for request in sorted(self._of_client.get(source, ())):
            self.end(source, request)

    def drop(self, group: GroupId, text: str, endpoints: tuple[Address, ...]) -> None:
        """The replica is gone: all that follow it are sent elsewhere."""
        followed = self._followed.get(group)
        for watch in list(followed.watches.values()) if followed else ():
            self.end(watch.source, watch.request)
            self._send(watch, Declined(watch.request, Reason.ELSEWHERE, text, endpoints))

    # --- a turn ---------------------------------------------------------------------------------------------------

    def flush(self, now: int, silent: bool) -> list[Send]:
        """Tell what is to be told.  `silent`: give no signs of life, for the node does not know whether it is current."""
        if not (self._watches or self._sends):
            return []
        for followed in list(self._followed.values()):
            self._look(followed)
            for number in list(followed.ready):
                self._feed(followed, followed.watches[number], now)
        while not silent and self._told_at:
            watch, at = next(iter(self._told_at.values()))
            if at + PROGRESS_NS > now:
                break
            assert not watch.behind, "with credit it was fed above"
            self._tell(watch, max(watch.position, self._followed[watch.group].position), b"", now)
        sends, self._sends = self._sends, []
        return sends

    @property
    def deadline(self) -> int | None:
        """When the next sign of life is due."""
        return next(iter(self._told_at.values()))[1] + PROGRESS_NS if self._told_at else None

    def _look(self, followed: _Followed) -> None:
        """Find out whom the object's latest changes concern."""
        replica = followed.replica
        position = replica.hooks.position(replica.kind, replica.object)
        if isinstance(position, BaseException):
            for watch in list(followed.watches.values()):
                self._end(watch, position)
            return
        if position == followed.position:
            return
        try:
            concerned = followed.interests.of(replica.object.touched(followed.position))
        except (Exception, SystemExit):  # it does not know any more: each watch is asked, and told what that raises
            concerned = sorted(followed.watches)
        for number in concerned:
            watch = followed.watches[number]
            if not watch.behind:
                watch.behind = True
                watch.position = max(watch.position, followed.position)
            if watch.credit > 0:
                followed.ready[number] = None
        followed.position = position

    def _feed(self, followed: _Followed, watch: _Watch, now: int) -> None:
        """Tell one watch what it has not been told, as far as its credit goes."""
        del followed.ready[watch.number]
        while watch.credit > 0:
            try:
                position, more, data = watch.operation.feed(followed.replica.object, watch.arguments, watch.position)
            except MemoryError:
                raise
            except (Exception, SystemExit) as error:
                self._end(watch, error)
                return
            watch.position = position
            if data:
                self._tell(watch, position, data, now)
            if not more:
                watch.behind = False
                return

    def _end(self, watch: _Watch, error: BaseException) -> None:
        """That watch ends with what was raised."""
        stamp = self._followed[watch.group].replica.stamp
        self.end(watch.source, watch.request)
        self._send(watch, Reply(watch.request, raised(error), stamp))

    def _tell(self, watch: _Watch, position: int, data: bytes, now: int) -> None:
        self._send(watch, Batch(watch.request, watch.group, watch.told, position, data, watch.cluster))
        watch.told = position
        watch.credit -= 1
        if watch.credit > 0:
            self._told_at[watch.number] = (watch, now)
            self._told_at.move_to_end(watch.number)
        else:
            self._told_at.pop(watch.number, None)

    def _send(self, watch: _Watch, message: Any) -> None:
        self._sends.append(Send((watch.source,), message))
