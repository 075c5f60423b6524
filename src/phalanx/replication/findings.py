"""What a node does about what its replicas find out: that they differ, or run another version of their class."""

from phalanx.model.events import Shorten, Unhost
from phalanx.model.view import Address, Member
from phalanx.replication.actions import (
    Action,
    CannotGoOn,
    CanRun,
    GivenUp,
    Judged,
    NotUnderstood,
    Say,
    Ticked,
    Upgraded,
    UpgradeVoid,
)
from phalanx.replication.audit import Finding
from phalanx.replication.feeds import Feeds
from phalanx.replication.hosted import Hosted
from phalanx.replication.hosting import Hosting
from phalanx.replication.inflight import HookFailed, ObjectUpgraded, ReplicaDiverged, UpgradeFailed, VersionRefused
from phalanx.replication.outbox import Outbox
from phalanx.replication.undo import CannotUndo


class Findings:
    """See the module's text."""

    def __init__(self, me: Member, hosting: Hosting, feeds: Feeds, out: Outbox) -> None:
        self._me = me
        self._hosting = hosting
        self._feeds = feeds
        self._out = out

    def take(self, hosted: Hosted, action: Action, endpoints: tuple[Address, ...], now: int) -> None:
        """Do what a replica asks for.  `endpoints`: where else its group is served."""
        name = hosted.replica.group.spec.name
        match action:
            case Say(payload):
                hosted.payloads.append(payload)
            case Judged(finding):
                self._judged(hosted, finding, endpoints)
            case Ticked():
                hosted.ticking = False
            case NotUnderstood(sender):
                self._out.note("gateway.not_understood", str(sender))
            case GivenUp(error):
                self.stranded(hosted, error, endpoints)
            case CanRun(host, versions):
                hosted.rollout.heard(host, versions)
            case Upgraded(since, to, replayed):
                hosted.rollout.upgraded(now)
                self._leave_behind(hosted)
                self._feeds.drop(hosted.replica.group.id, f"the group runs version {to} now", endpoints)
                if replayed:
                    self._out.note("gateway.upgrade_replayed", name, since, to)
                else:
                    self._out.note("gateway.upgraded", name, since, to)
                    self._out.deliveries.append(ObjectUpgraded(name, since, to))
            case UpgradeVoid(to, fault, replayed):
                self._out.note("gateway.upgrade_void", name, to, fault)
                if fault:
                    self._leave_behind(hosted)
                if fault and not replayed:
                    self._out.note("gateway.upgrade_failed", name, to, fault)
                    hosted.rollout.failed(fault, now)
                    self._out.deliveries.append(UpgradeFailed(name, to, fault))

    def _leave_behind(self, hosted: Hosted) -> None:
        """A conversion: whoever reads the log from before would do it again, and be silent for as long as it takes."""
        if hosted.replica.group.spec.durable:
            self._out.requests.append(Shorten())

    def _judged(self, hosted: Hosted, finding: Finding, endpoints: tuple[Address, ...]) -> None:
        spec, at = hosted.replica.group.spec, (finding.since, finding.position, finding.diverged)
        self._out.note("gateway.diverged", spec.name, *at)
        resumed = bool(finding.agreed) and not finding.diverged
        self._out.deliveries.append(ReplicaDiverged(spec.name, *at, resumed))
        if hosted.replica.diverged and hosted.serves:
            hosted.serves = False
            why, group = "this replica has diverged", hosted.replica.group.id
            others = tuple(each for each in endpoints if each != self._me.address)
            self._feeds.drop(group, why, others)
            self._out.abandon(hosted.in_flight, why, others)
            self._hosting.giving.drop(group)
            self._hosting.anew[spec.name] = spec
            self._out.requests.append(Unhost(spec.name))

    def stranded(self, hosted: Hosted, error: CannotGoOn, endpoints: tuple[Address, ...]) -> None:
        """The replica here is of no use: the group runs a version that this node has no code for, or the state is gone.
        What the group has is kept: a host of a durable group does not give it up, for its log may be what the others
        need; nor does one that could not undo what raised, since all hosts may be in that place."""
        group, why = hosted.replica.group, str(error)
        hosted.serves, hosted.stranded = False, True
        others = tuple(each for each in endpoints if each != self._me.address)
        self._feeds.drop(group.id, why, others)
        self._out.abandon(hosted.in_flight, why, others)
        if isinstance(error, CannotUndo):
            self._out.failed(HookFailed(group.spec.name, error.where, error.error, why))
            return
        keeps = group.spec.durable and self._me.name in group.hosts
        self._hosting.refused[group.spec.name] = why
        self._out.note("gateway.version_refused", group.spec.name, why)
        self._out.deliveries.append(VersionRefused(group.spec.name, why, keeps))
        if not keeps:
            self._out.requests.append(Unhost(group.spec.name))
