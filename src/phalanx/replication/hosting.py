"""The replicas of one node: what they are of, which are here, and which of them can be asked.

States that are given and taken in slices pass through here (`slicing`): the gateway deals with what waits in each turn.
"""

from collections.abc import Callable
from typing import Any

from phalanx.model.clock import Stamp
from phalanx.model.events import (
    Consumed,
    Delivered,
    Delivery,
    Founded,
    Host,
    Restored,
    RestoreTaken,
    Restoring,
    SnapshotUnwanted,
    SnapshotWanted,
)
from phalanx.model.view import Group, GroupId, GroupSpec, Member, View
from phalanx.replication.hosted import Hosted
from phalanx.replication.inflight import HookFailed
from phalanx.replication.objects import ObjectType
from phalanx.replication.outbox import Outbox
from phalanx.replication.replica import Replica
from phalanx.replication.session import Limits
from phalanx.replication.slicing import Giving, Taking
from phalanx.replication.versions import fault_in, founded_with


class Hosting:
    """See the module's text.  `audit_interval` 0: the usual one.  `slice_bytes`: of a state, in one turn.  `quiet_ns`:
    see `rollout`.  `failed`: is told of hooks that raise."""

    def __init__(
        self,
        me: Member,
        limits: Limits,
        audit_interval: int,
        slice_bytes: int,
        quiet_ns: int,
        failed: Callable[[HookFailed], None],
    ) -> None:
        self._quiet_ns = quiet_ns
        self._me = me
        self._failed = failed
        self._limits = limits
        self._audit: dict[str, int] = {"audit_interval": audit_interval} if audit_interval else {}
        self.kinds: dict[str, ObjectType[Any]] = {}
        """What groups of a name hold here."""
        self.groups: dict[GroupId, Hosted] = {}
        self.anew: dict[str, GroupSpec] = {}
        """Groups whose state here was wrong: they are to be hosted again."""
        self.refused: dict[str, str] = {}
        """Groups that run what there is no code for here, and why."""
        self._ids: dict[str, GroupId] = {}
        """The latest of each name, here or not any more: each request asks by name, and there can be many groups."""
        self.reading: dict[GroupId, None] = {}
        """Groups whose log or transfer began to be read here."""
        self.giving = Giving(slice_bytes)
        self.taking = Taking(slice_bytes)

    def named(self, name: str) -> Hosted | None:
        """The group of that name, if there is a replica of it here."""
        group = self._ids.get(name)
        return self.groups.get(group) if group is not None else None

    def serving(self, name: str) -> Hosted | None:
        """The group of that name, if this node is a full host whose replica can be asked."""
        hosted = self.named(name)
        if hosted is None or not hosted.serves_as(name, self._me.name) or hosted.replica.group.id in self.taking:
            return None
        return hosted

    def showing(self, name: str) -> Hosted | None:
        """The group of that name, if there is a replica here that can say what it knew last, be it only a learner's."""
        hosted = self.named(name)
        return hosted if hosted is not None and hosted.serves and hosted.replica.group.id not in self.taking else None

    def again(self, view: View) -> list[Host]:
        """Requests to host what this node has dropped, once the view is without it there."""
        found = [view.group_named(name) for name in self.anew]
        here = {group.spec.name for group in found if group is not None and self._me.name in group.everyone}
        back = [name for name in self.anew if name not in here]
        return [Host(self.anew.pop(name)) for name in back]

    @property
    def due(self) -> int | None:
        """When to go on with what is given or taken in slices."""
        giving, taking = self.giving.at, self.taking.at
        return giving if taking is None or (giving is not None and giving < taking) else taking

    def spec(self, group_id: GroupId, view: View | None) -> GroupSpec | None:
        """Of a group that is here, or in the view."""
        if group_id in self.groups:
            return self.groups[group_id].replica.group.spec
        group = view.group(group_id) if view else None
        return group.spec if group else None

    def kind(self, group_id: GroupId, view: View | None) -> ObjectType[Any] | None:
        """What it holds, if it is known here."""
        spec = self.spec(group_id, view)
        return self.kinds.get(spec.name) if spec is not None else None

    def is_behind(self, group: GroupId) -> bool:
        """The replica here has yet to come to where the others are: it was restored in this turn, or is a learner's, whom
        nobody waits for.  What it is sent may be all that was ordered since the state was taken, at once."""
        hosted = self.groups.get(group)
        return hosted is not None and (group in self.reading or self._me.name not in hosted.replica.group.hosts)

    def begins(self, delivery: Delivery, view: View | None) -> bool:
        """It brings the state of a group whose replica is, or is to be, here, or what that lacks."""
        match delivery:
            case Delivered(group):
                return self.is_behind(group)
            case Restoring(group) | Restored(group):
                return self.kind(group, view) is not None
            case Founded(_, spec):
                return spec.name in self.kinds
            case _:
                return False

    def found(self, group_id: GroupId, spec: GroupSpec, view: View | None, now: int, fence: Stamp) -> str | None:
        """A replica of a new group, whose fencing tokens begin above `fence`.  What is returned says why it cannot be run
        here, if so."""
        known = view.group(group_id) if view else None
        self._host(known or Group(group_id, spec, (self._me.name,)), view, now).replica.fence(fence)
        number = founded_with(spec)
        return fault_in(self.kinds[spec.name], number, spec.contract) if number is not None else None

    def restore(self, last: Restored, view: View | None, now: int) -> tuple[Replica[Any], BaseException | None]:
        """A new replica with the state of which the last slice has come, and what was wrong with that, if anything: then
        the replica does not serve."""
        spec = self.spec(last.group, view)
        assert view is not None and spec is not None
        hosted = self._host(view.group(last.group) or Group(last.group, spec, ()), view, now)
        try:
            hosted.replica.restore(self.taking.restored(last, hosted.replica.restoration()))
        except (Exception, SystemExit) as error:  # whatever the class's own hooks raise
            hosted.serves = False
            return hosted.replica, error
        return hosted.replica, None

    def _host(self, group: Group, view: View | None, now: int) -> Hosted:
        """A new replica takes the place of the one that there was, if any."""
        here = view.id if view is not None else -1
        replica = Replica(self.kinds[group.spec.name], group, self._me, self._limits, **self._audit, view=here)
        replica.hooks.told, replica.hooks.costs = self._failed, self.taking.spend
        hosted = self.groups[group.id] = Hosted(replica, now, self._quiet_ns)
        self._ids[group.spec.name] = group.id
        self.reading[group.id] = None
        return hosted

    def drop(self, group: GroupId, out: Outbox) -> Hosted:
        """The replica is gone; what it was."""
        self.giving.drop(group)
        hosted = self.groups.pop(group)
        if hosted.consumed:  # another may take its place
            out.requests.append(Consumed(group, hosted.consumed))
        return hosted

    def read_to_end(self) -> list[Hosted]:
        """At the end of a turn: the groups that have all that was ordered before the present view, since now."""
        done = [group for group in self.reading if group not in self.taking]
        self.reading = {group: None for group in self.reading if group in self.taking}
        return [self.groups[group] for group in done if group in self.groups]

    def exchange(self, delivery: Delivery, view: View | None, now: int, out: Outbox) -> bool:
        """A slice of a state is wanted, or has come.  False if the delivery is something else, or not of ours."""
        match delivery:
            case Restoring(group, token) if (kind := self.kind(group, view)) is not None:
                self.taking.restoring(delivery, kind, self._limits)
                out.requests.append(RestoreTaken(group, token))
            case SnapshotWanted(group) if group in self.groups:
                hosted = self.groups[group]
                taken = self.giving.wanted(delivery, hosted.replica if hosted.serves else None, now)
                out.requests += [taken] if taken is not None else []
            case SnapshotUnwanted(group, token) if group in self.groups:
                self.giving.unwanted(token)
            case _:
                return False
        return True
