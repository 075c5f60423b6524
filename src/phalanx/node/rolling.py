"""A rolling restart: members are restarted one at a time, each only when the last one is back and the rest can spare it.

A process that has run for long may have gathered what nobody will ever find: leaks, states that should not be
(Heisenbugs).  A restart gets rid of them; a group that restarts its members in turn need not stop for it.

`Rolling` decides, from what the nodes say about themselves (`Status`), what to do next; whoever drives it asks the nodes
and restarts them.  A member is restarted when every member answers, all agree on a view without learners, suspicions or
suspended groups, and view and groups would survive its failure.  It is back when it is a full member in a later life and
hosts, with their state, all groups that it had hosted.  Whatever is otherwise is waited for, up to a patience; then
nothing is restarted any more, so a version that does not start costs one member.  A name that nobody knows is not waited
for: no node that returns will have it.

Source: Huang, Kintala, Kolettis and Fulton, "Software Rejuvenation" (FTCS 1995); Gray, "Why Do Computers Stop and What
Can Be Done About It?" (1985) for Heisenbugs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.view import Name
from phalanx.node.status import Status

PATIENCE_NS = 120 * SECOND
"""How long a member may take to be back: a large state takes a while to transfer."""

POLL_NS = 200 * MILLISECOND
"""How often nodes are asked."""

Statuses = Mapping[Name, Status | None]
"""What each node says; None, or missing: it does not answer."""

Reasons = Mapping[Name, str]
"""Why nodes do not answer, as far as that is known; of one whose name is not known, by its address."""

NO_REASONS: Reasons = {}


class Restart(NamedTuple):
    """Restart that member now."""

    name: Name


class Wait(NamedTuple):
    """Ask the nodes again, in a while."""

    why: str


class Done(NamedTuple):
    """All have been restarted."""


class Stop(NamedTuple):
    """Nothing more will be restarted."""

    why: str


Action = Restart | Wait | Done | Stop


class Rolling:
    """See the module's text.

    names: whom to restart; empty: all full members, the youngest first, so that the eldest, which leads view changes, is
        replaced once.
    pause_ns: how long to wait after a member is back: staggered restarts have members of different ages.
    cluster: whose members, as `Status.cluster` has it; empty: of the one that answers first.  If another has taken its
        place by recovery, that one's.
    """

    def __init__(
        self, names: Sequence[Name] = (), patience_ns: int = PATIENCE_NS, pause_ns: int = 0, cluster: str = ""
    ) -> None:
        self._cluster = cluster
        self._names = list(names) or None
        self._unheard = dict.fromkeys(names)
        """Those of them that no node has known yet."""
        self._patience_ns = patience_ns
        self._pause_ns = pause_ns
        self._since: int | None = None
        """When the present wait began."""
        self._not_before = 0
        self._under_way: tuple[Name, int, frozenset[str]] | None = None
        """Who is being restarted, its incarnation before, and the groups that it hosted."""
        self._end: Done | Stop | None = None
        self.restarted: list[Name] = []
        """Those that are back."""

    def step(self, statuses: Statuses, now: Instant, reasons: Reasons = NO_REASONS) -> Action:
        """What to do, given what the nodes say now, or why some do not."""
        if self._end is not None:
            return self._end
        if self._since is None:
            self._since = now.mono
        wrong = self._stranger(statuses) or self._unknown(statuses, reasons)
        if wrong:
            self._end = Stop(wrong)
            return self._end
        if self._under_way is not None:
            name = self._under_way[0]
            why = self._not_back(statuses, reasons, *self._under_way) or unsettled(statuses, reasons)
            if why:
                return self._wait(f"{name} is not back: {why}", now)
            self.restarted.append(name)
            self._under_way = None
            self._since, self._not_before = now.mono, now.mono + self._pause_ns
        why = unsettled(statuses, reasons)
        if why:
            return self._wait(why, now)
        left = self._left(statuses)
        if not left:
            self._end = Done()
            return self._end
        if now.mono < self._not_before:
            self._since = now.mono
            return Wait(f"it is too early to restart {left[0]}")
        why = cannot_spare(statuses, left[0])
        if why:
            return self._wait(f"{left[0]} cannot be spared: {why}", now)
        return self._restart(left[0], statuses, now)

    def _stranger(self, statuses: Statuses) -> str:
        """A node that is of another cluster, which waiting does not change; empty if there is none."""
        known = {name: status for name, status in statuses.items() if status is not None and status.cluster}
        lineage: tuple[str, ...] = ()
        for status in known.values():
            self._cluster = self._cluster or status.cluster
            if self._cluster in status.lineage:  # it goes on under that id
                self._cluster = status.cluster
            if self._cluster == status.cluster:
                lineage = status.lineage
        for name, status in known.items():
            if status.cluster in lineage:
                return (
                    f"{name} is of cluster {status.cluster}, whose place {self._cluster} has taken by recovery: stop it, "
                    f"and start it as a new node"
                )
            if status.cluster != self._cluster:
                return f"{name} is of cluster {status.cluster}, not of {self._cluster}"
        return ""

    def _unknown(self, statuses: Statuses, reasons: Reasons) -> str:
        """Names to restart that no node has; empty if there are none, or one that does not answer may have it."""
        answers = [status for status in statuses.values() if status is not None and status.view >= 0]
        there = set(statuses).union(m.name for s in answers for m in (*s.members, *s.learners))
        away = {name for s in answers for name in (*s.departed, *s.missing)}
        self._unheard = {name: None for name in self._unheard if name not in there | away}
        if not self._unheard or not answers or reasons.keys() - there:
            return ""
        return f"no member or learner has the name {', '.join(self._unheard)}: there are {', '.join(sorted(there))}"

    def _restart(self, name: Name, statuses: Statuses, now: Instant) -> Restart:
        status = statuses[name]
        assert status is not None, "everybody answers"
        self._under_way = name, status.incarnation, frozenset(g.name for g in status.groups if g.here == "host")
        self._since = now.mono
        return Restart(name)

    def _left(self, statuses: Statuses) -> list[Name]:
        if self._names is None:
            self._names = [member.name for member in reversed(_view(statuses).members)]
        return [name for name in self._names if name not in self.restarted]

    def _wait(self, why: str, now: Instant) -> Wait | Stop:
        assert self._since is not None
        if now.mono - self._since < self._patience_ns:
            return Wait(why)
        self._end = Stop(why)
        return self._end

    @staticmethod
    def _not_back(statuses: Statuses, reasons: Reasons, name: Name, before: int, groups: frozenset[str]) -> str:
        status = statuses.get(name)
        if status is None:
            return f"it does not answer{_because(reasons, [name])}"
        if status.incarnation <= before:
            return f"it was not restarted, and is still {name}#{before}"
        if status.state != "member":
            return f"it is {status.state}"
        hosted = {group.name for group in status.groups if group.here == "host" and group.synced}
        if not groups <= hosted:
            return f"it does not host {', '.join(sorted(groups - hosted))} yet"
        return ""


def unsettled(statuses: Statuses, reasons: Reasons = NO_REASONS) -> str:
    """Why the cluster is not at rest; empty if it is."""
    silent = [name for name, status in statuses.items() if status is None]
    if silent:
        return f"{', '.join(silent)} does not answer{_because(reasons, silent)}"
    if not statuses:
        return f"nobody answers{_because(reasons, reasons)}"
    views = {status.view for status in statuses.values() if status is not None}
    if len(views) > 1:
        return "a view is being changed"
    view = _view(statuses)
    unasked = [member.name for member in view.members if member.name not in statuses]
    if unasked:
        return f"{', '.join(unasked)} does not answer"
    for status in statuses.values():
        assert status is not None
        if status.state != "member":
            return f"{status.node} is {status.state}"
        if status.suspects:
            return f"{status.node} suspects {', '.join(status.suspects)}"
        behind = [
            group.name for group in status.groups if group.learners or (group.here == "host" and not group.synced)
        ]
        if behind:
            return f"hosts of {', '.join(behind)} are still to get its state"
    if view.learners:
        return f"{', '.join(member.name for member in view.learners)} is no full member yet"
    if view.suspended:
        return f"group {view.suspended[0].name} is suspended"
    return ""


def _because(reasons: Reasons, names: Iterable[Name]) -> str:
    known = {name: reasons[name] for name in names if name in reasons}
    return ": " + "; ".join(f"{name}: {why}" if len(known) > 1 else why for name, why in known.items()) if known else ""


def cannot_spare(statuses: Statuses, name: Name) -> str:
    """Why that member of a cluster at rest must not fail; empty if it may."""
    view = _view(statuses)
    if all(member.name != name for member in view.members):
        return "it is no full member"
    if view.survives < 1:
        return f"a view of {len(view.members)} does not survive the failure of one"
    for group in view.groups:
        if name not in group.hosts:
            continue
        if len(group.hosts) < 2:
            return f"it is the only host of group {group.name}"
        if group.durable and len(group.hosts) - 1 < group.min_copies:
            return f"group {group.name} takes no writes with fewer than {group.min_copies} hosts"
    return ""


def _view(statuses: Statuses) -> Status:
    """What the node in the latest view says."""
    return max((status for status in statuses.values() if status is not None), key=lambda status: status.view)
