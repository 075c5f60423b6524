"""A group that a node has a replica of, as its gateway keeps it: what is under way, and when a tick or an upgrade is due.

The eldest host orders a tick when the object wants one and nothing else flows (DESIGN section 9); if none comes, the next
one does, and so on: the eldest may be one that has no code for the version of the class, and serves nothing.  Each judges
this by its monotonic clock, from when it last applied something: its wall clock may be wrong.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

from phalanx.model.clock import MILLISECOND, SECOND, Stamp, wall_ms
from phalanx.model.events import Barrier, Consumed, Delivered, Multicast, Request
from phalanx.model.view import Address, GroupId, Name, View
from phalanx.replication import entries
from phalanx.replication.actions import Action, CannotGoOn, GivenUp
from phalanx.replication.inflight import Waiter, entry_of
from phalanx.replication.messages import CloseSession, Command, OpenSession, Query, SessionKeepAlive, Watch
from phalanx.replication.replica import Replica
from phalanx.replication.rollout import QUIET_NS, Rollout

TICK_NS_LEAST = 50 * MILLISECOND
"""From one tick to the next: the group's clock may stand still for a while, if it was ahead of physical time."""


STAND_IN_NS = SECOND
"""For so long each host leaves a tick that is due to the one before it."""

T = TypeVar("T")
P = ParamSpec("P")

Waiting: TypeAlias = list[tuple[Waiter, T]]
"""Requests of that kind, and who waits for them."""


class Hosted:
    """See the module's text.  Times are monotonic nanoseconds."""

    def __init__(self, replica: Replica[Any], now: int, quiet_ns: int = QUIET_NS) -> None:
        self.replica = replica
        self.serves = True
        self.payloads: list[bytes] = []
        self.in_flight: dict[int, Waiter] = {}
        self.asking: list[tuple[Waiter, Query | Watch]] = []
        self.barriers: dict[int, list[tuple[Waiter, Query | Watch]]] = {}
        self.consumed = 0
        self.applied_at = now
        """When something ordered was last applied here."""
        self.ticking = False
        """A tick of ours is under way."""
        self._ticked_at = now - TICK_NS_LEAST
        self.rollout = Rollout(now, quiet_ns)
        self.stranded = False
        """The replica is of no use, for want of code or of its state: nothing is applied any more."""

    def serves_as(self, name: str, me: Name) -> bool:
        """It is the group of that name, and this node answers for it."""
        group = self.replica.group
        return self.serves and group.spec.name == name and me in group.hosts

    def order(
        self, ticket: int, waiter: Waiter, message: OpenSession | SessionKeepAlive | CloseSession | Command
    ) -> None:
        """Have the group order what the client asks."""
        self.in_flight[ticket] = waiter
        self.payloads.append(entries.encode(entry_of(ticket, message)))

    def apply(self, delivered: Delivered, now: int) -> list[Action]:
        """Give the replica a run of entries; what it asks for."""
        self.consumed += sum(map(len, delivered.payloads))
        self.applied_at = now
        return self._asked(self.replica.deliver, delivered)

    def install(self, view: View, now: int) -> list[Action]:
        """A view begins; what the replica asks for."""
        self.rollout.begin(now)
        return self._asked(self.replica.install, view)

    def caught_up(self) -> list[Action]:
        """All that was ordered before the present view was applied; what the replica asks for."""
        return self._asked(self.replica.caught_up)

    def rescued(self, fence: Stamp) -> list[Action]:
        """An operator has recovered the cluster; what the replica asks for."""
        return self._asked(self.replica.rescued, fence)

    def _asked(self, ask: Callable[P, list[Action]], *args: P.args, **kwargs: P.kwargs) -> list[Action]:
        """Nothing, if the replica was given up; and it is, if it cannot go on."""
        try:
            return ask(*args, **kwargs) if not self.stranded else []
        except CannotGoOn as error:
            return [GivenUp(error)]

    @property
    def waiting(self) -> list["Waiting[Query | Watch]"]:
        """What waits for barriers."""
        return [self.asking, *self.barriers.values()]

    def tick_at(self, me: Name) -> int | None:
        """When this node is to order a tick, unless something else comes first; None: it is not."""
        hosts = self.replica.group.hosts
        if self.ticking or not self.serves or me not in hosts:
            return None
        due_ms = self.replica.due_ms
        if due_ms is None:
            return None
        wait = max(0, due_ms - wall_ms(self.replica.stamp)) * MILLISECOND
        return max(self.applied_at + wait, self._ticked_at + TICK_NS_LEAST) + hosts.index(me) * STAND_IN_NS

    def due_at(self, me: Name) -> int | None:
        """When this node is to order a tick or an upgrade; None: neither."""
        tick, upgrade = self.tick_at(me), self.rollout.due(self.replica, me) if self.serves else None
        return tick if upgrade is None or (tick is not None and tick < upgrade) else upgrade

    def order_due(self, me: Name, now: int) -> None:
        """Order a tick or an upgrade, if one is due."""
        if self.serves and (upgrade := self.rollout.order(self.replica, me, now)) is not None:
            self.payloads.append(upgrade)
        at = self.tick_at(me)
        if at is not None and at <= now:
            self.ticking = True
            self._ticked_at = now
            self.payloads.append(entries.encode(entries.Tick()))

    def requests(self, ticket: int, me: Name) -> list[Request]:
        """What the group machine is to do, at the end of a turn.  `ticket`: of the barrier, if there are questions."""
        group = self.replica.group.id
        if self.serves and (said := self.rollout.to_say(self.replica, me)) is not None:
            self.payloads.append(said)
        requests: list[Request] = []
        if self.consumed:
            requests.append(Consumed(group, self.consumed))
            self.consumed = 0
        if self.payloads:
            requests.append(Multicast(group, tuple(self.payloads)))
            self.payloads.clear()
        if self.asking:
            self.barriers[ticket], self.asking = self.asking, []
            requests.append(Barrier(group, ticket))
        return requests


class Rounds:
    """The hosted groups in which something has happened since the last turn, and when the others are due: a group that
    nothing happens to costs nothing."""

    def __init__(self, me: Name, hosted: dict[GroupId, Hosted]) -> None:
        self._me = me
        self._hosted = hosted
        self._touched: dict[GroupId, None] = {}
        self._ticks: dict[GroupId, int] = {}
        """When what this node has to order of itself is due."""
        self._ticket = 0

    def new_ticket(self) -> int:
        """A number of this node's that no entry and no barrier has had."""
        self._ticket += 1
        return self._ticket

    def touch(self, group: GroupId) -> None:
        """Something happens to it in this turn."""
        self._touched[group] = None

    def tick(self, now: int) -> None:
        """Order the ticks and upgrades that are due."""
        for group, at in self._ticks.items():
            if at <= now and group in self._hosted:
                self._hosted[group].order_due(self._me, now)
                self.touch(group)

    @property
    def deadline(self) -> int | None:
        """When the next tick is due."""
        return min(self._ticks.values()) if self._ticks else None

    def settle(self) -> list[Request]:
        """The end of a turn: what the group machine is to do."""
        requests: list[Request] = []
        if self._touched:
            touched, self._touched = self._touched, {}
            for group in touched:
                hosted = self._hosted.get(group)
                due = None
                if hosted is not None:
                    requests += hosted.requests(self.new_ticket(), self._me)
                    due = hosted.due_at(self._me)
                if due is not None:
                    self._ticks[group] = due
                else:
                    self._ticks.pop(group, None)
        return requests


def withdraw(waiting: "list[Waiting[T]]", source: Address, request: int) -> list[Waiter]:
    """Take a request out of the lists in which it waits; who waited."""
    found = []
    for each in waiting:
        found += [waiter for waiter, _ in each if (waiter.source, waiter.request) == (source, request)]
        each[:] = [one for one in each if (one[0].source, one[0].request) != (source, request)]
    return found
