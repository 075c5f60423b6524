"""What a process tells its operator, in the log `phalanx`: enough to see, the morning after, who was there, who was
missed, and what was waited for.

INFO has what is ordinary: views and who came and went with each, who is suspected, being in touch again.  WARNING has
what somebody may have to do something about: being cut off from a quorum, out, not let in, or in no view for long.  DEBUG
has every note of the machine.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from phalanx.model.machine import Note
from phalanx.model.view import Group, Member, Name, View
from phalanx.replication.inflight import (
    HookFailed,
    ObjectUpgraded,
    ReplicaDiverged,
    SnapshotUnfaithful,
    UpgradeFailed,
)

log = logging.getLogger("phalanx")

WAIT_S = 3.0
"""How long a process is in no view before that is told: joining takes milliseconds, with state a second or two."""

_CLOCKS = {
    "clock.wrong": (
        logging.WARNING,
        "%s: its clock is %+.1f s from the median of the members' clocks: set right whichever is wrong",
    ),
    "clock.right": (logging.INFO, "%s: its clock is right again, %+.1f s from the median"),
    "time.ahead": (
        logging.WARNING,
        "%s: the groups' time is %.1f s ahead of the members' clocks, which were put back: until these have caught up it "
        "goes at half speed, and leases last up to twice as long",
    ),
    "time.right": (logging.INFO, "%s: the members' clocks have caught up with the groups' time, which is right again"),
}
"""What is said of notes about clocks, whose detail is milliseconds."""

_DOUBTFUL = (
    "No host of that view is known to have lived on; if all had failed, and the ends of the others' logs had been cut "
    "off, these batches may have been acknowledged. They stay in the log here until it is shortened: to keep them, stop "
    "this node and copy its data directory"
)
"""Of batches that are only in this node's log, or may be."""

AGAIN_S = 60.0
"""How often what goes on is told again: often enough to be found at the end of a log, and no more."""


class Reports:
    """Of the process of that name.  `waits`: what it waits for; `explain`: why others cannot be reached."""

    def __init__(self, name: Name, waits: Callable[[], str], explain: Callable[[], str]) -> None:
        self._name = name
        self._waits_for = waits
        self._explain = explain
        self._view: View | None = None
        self._suspects: tuple[Name, ...] = ()
        self._cut_off = False
        self._refused: dict[str, float] = {}
        """Why it was not let in, and when that was told."""
        self._timer: asyncio.TimerHandle | None = None

    def notes(self, notes: Sequence[Note], listener: Callable[[Note], None] | None) -> bool:
        """What the machine noted, for the log and for whoever listens; whether it suspects others than before."""
        for note in notes:
            log.debug("%s %s", self._name, note)
            if note.what in _CLOCKS:
                level, text = _CLOCKS[note.what]
                log.log(level, text, self._name, *(ms / 1000 for ms in note.detail))
            elif note.what == "log.left_out":
                self._left_out(*note.detail)
            elif note.what == "log.replaced":
                text = "%s: the state of group %s comes from others. Whether it has all batches of view %d that are in"
                log.warning(f"{text} the log here, %d in number, is not known. {_DOUBTFUL}", self._name, *note.detail)
            if listener is not None:
                try:
                    listener(note)
                except Exception:
                    log.exception("%s: on_notes failed, and the node goes on", self._name)
        return any(note.what == "suspects" for note in notes)

    def _left_out(self, group: str, view: int, count: int, doubtful: bool) -> None:
        """Batches of that view are in the log here, and the group went on without them."""
        text = "%s: %d batches of group %s, of view %d, are in the log here, and the group went on without them"
        text += f". {_DOUBTFUL}" if doubtful else ": nobody had delivered them"
        log.log(logging.WARNING if doubtful else logging.INFO, text, self._name, count, group, view)

    # --- in no view

    def wait(self) -> None:
        """The process is in no view."""
        self._wait(WAIT_S)

    def _wait(self, delay_s: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._waits)

    def _waits(self) -> None:
        why = self._explain()
        what = self._waits_for() or "waits for its disk, which has not taken what it decided"
        log.warning("%s is in no view: it %s%s", self._name, what, f" ({why})" if why else "")
        self._wait(AGAIN_S)

    def close(self) -> None:
        """Tell of no more waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def not_let_in(self, reason: str) -> None:
        """The cluster does not take it.  It tries again, many times a minute."""
        now = asyncio.get_running_loop().time()
        if now - self._refused.get(reason, -AGAIN_S) >= AGAIN_S:
            self._refused = {reason: now}
            log.warning("%s is not let in, and goes on trying: %s", self._name, reason)

    def not_hosted(self, name: str, reason: str) -> None:
        """A group that it had hosted, or wants to host again."""
        log.error("%s cannot host %s: %s", self._name, name, reason)

    # --- in a view

    def installed(self, view: View) -> None:
        """It is in that view."""
        self.close()
        before, self._view = self._view, view
        self._refused.clear()
        who = _names(view.members) + (f", learning: {_names(view.learners)}" if view.learners else "")
        if before is None:
            log.info("%s is in view %d of cluster %x: %s%s", self._name, view.id, view.cluster, who, _hosts(view))
            for each in view.suspended:
                log.warning("%s: %s", self._name, _suspension(each.group))
            return
        changes = changes_of(before, view)
        level = logging.INFO if changes else logging.DEBUG
        log.log(
            level, "%s is in view %d: %s%s", self._name, view.id, who, f" ({'; '.join(changes)})" if changes else ""
        )

    def heard(self, suspects: tuple[Name, ...], cut_off: bool) -> None:
        """It suspects these now, and does or does not hear a quorum."""
        if self._view is not None and suspects != self._suspects:
            log.info("%s suspects %s", self._name, ", ".join(suspects) or "nobody any more")
        self._suspects = suspects
        cut_off = cut_off and self._view is not None and bool(suspects)  # without suspects it is about to leave
        if cut_off and not self._cut_off and self._view is not None:
            text = "%s is cut off from a quorum of view %d (%s), and takes no writes until enough of %s answer again"
            log.warning(text, self._name, self._view.id, _names(self._view.members), ", ".join(suspects))
        elif self._cut_off and not cut_off and self._view is not None:
            log.info("%s hears a quorum of view %d again", self._name, self._view.id)
        self._cut_off = cut_off

    def out(self, reason: str, leaving: bool) -> None:
        """It is in no view any more."""
        was = f"view {self._view.id}" if self._view is not None else "the cluster"
        self._view, self._suspects, self._cut_off = None, (), False
        if leaving:
            log.info("%s has left %s: %s", self._name, was, reason)
            self.close()
            return
        log.warning("%s was put out of %s, and asks to be let in again: %s", self._name, was, reason)
        self.wait()

    # --- groups

    def lost(self, name: str) -> None:
        """A group's last hosts have failed."""
        log.warning("%s: all hosts of group %s were lost, and its state with them", self._name, name)

    def suspended(self, name: str) -> None:
        """A durable group has no host any more."""
        log.warning("%s: group %s waits for one of its last hosts to return with its log", self._name, name)

    def found(self, what: Any) -> None:
        """What is wrong with a replica, or anything else that nobody here expects."""
        if isinstance(what, ReplicaDiverged):
            where = f"{self._name}: between positions {what.since} and {what.position} of group {what.group}"
            if what.diverged:
                names = " ".join(what.diverged)
                log.error("%s the replicas at %s diverged from the majority, and fetch its state anew", where, names)
            elif what.resumed:
                log.warning("%s the replicas had diverged; a majority agrees again, and writes go on", where)
            else:
                log.error("%s the replicas diverged, and no majority agrees: its writes are stopped", where)
        elif isinstance(what, HookFailed):
            log.error("%s: group %s: %s raised %s; %s", self._name, what.group, what.where, what.error, what.effect)
        elif isinstance(what, ObjectUpgraded):
            log.info("%s: group %s went from version %d to %d", self._name, what.group, what.since, what.to)
        elif isinstance(what, UpgradeFailed):
            text = "%s: group %s stays with the version that it runs, and does not go over to version %d: %s"
            log.error(text, self._name, what.group, what.to, what.reason)
        elif isinstance(what, SnapshotUnfaithful):
            text = "%s does not serve group %s: its state changes when it is saved and restored: %s"
            log.error(text, self._name, what.group, what.reason)
        else:
            log.error("%s: %s", self._name, what)


def _names(members: Iterable[Member]) -> str:
    return " ".join(member.name for member in members)


def _hosts(view: View) -> str:
    if not view.groups:
        return ""
    return f"; groups: {', '.join(f'{g.spec.name} at {_places(g)}' for g in view.groups)}"


def _places(group: Group) -> str:
    learners = f" (learning: {' '.join(group.learners)})" if group.learners else ""
    return " ".join(group.hosts) + learners


def members_changed(before: View, view: View) -> dict[str, list[Name]]:
    """Who, by what became of them."""
    old, new = ({m.name: m for m in v.everyone} for v in (before, view))
    full = [{m.name for m in v.members} for v in (before, view)]
    return {
        "come": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "restarted": [name for name in new if name in old and new[name] != old[name]],
        "promoted": [name for name in new if name in old and name in full[1] - full[0]],
        "demoted": [name for name in new if name in old and name in full[0] - full[1]],
    }


def changes_of(before: View, view: View) -> list[str]:
    """In words; nothing if members are the same, and hosts of groups."""
    changes = [f"{what}: {' '.join(names)}" for what, names in members_changed(before, view).items() if names]
    known = {group.id: group for group in before.groups}
    for group in view.groups:
        was = known.pop(group.id, None)
        if was is None or (was.hosts, was.learners) != (group.hosts, group.learners):
            changes.append(f"{'new ' if was is None else ''}group {group.spec.name} at {_places(group)}")
    changes += [f"group {group.spec.name} is no more" for group in known.values()]
    waiting = {each.group.id for each in before.suspended}
    changes += [_suspension(each.group) for each in view.suspended if each.group.id not in waiting]
    return changes


def _suspension(group: Group) -> str:
    return f"group {group.spec.name} is suspended, and waits for the log of one of {' '.join(group.hosts)}"
