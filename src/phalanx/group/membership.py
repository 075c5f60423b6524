"""Joins, leaves, groups to host, promotions: what is wanted of the next view, and when there is reason for one
(DESIGN sections 4 and 7).

A node repeats its `Wish` until a view grants it; any member passes it on to the one that would coordinate.  The
coordinator batches what is wanted; how often a member had to be demoted decides how long it waits for its promotion.
"""

from collections.abc import Callable

from phalanx.group import room
from phalanx.group.core import Core
from phalanx.group.flush import Attempt
from phalanx.group.messages import Decision, Refuse, RefuseHost, Wish
from phalanx.group.probation import Probation
from phalanx.group.proposal import Grounds
from phalanx.group.ranges import EVERYONE_MAX, GROUPS_MAX, fault_in_spec
from phalanx.group.regroup import is_enough, may_leave, may_unhost, unhosters
from phalanx.model.events import Host, HostRefused, Leave, Refusal, Unhost
from phalanx.model.view import Address, GroupId, GroupSpec, Member, Name, View


class Membership:
    """The part of a node that asks to be in, and, as coordinator, weighs what is asked."""

    def __init__(self, core: Core, asks_at: int = 0) -> None:
        """`asks_at`: not before that does it ask to be let in."""
        self.core = core
        self.asks_at = asks_at
        self._hosts: dict[str, GroupSpec] = {spec.name: spec for spec in core.config.hosts}
        self._unhosts: set[str] = set()
        self.leaving = False
        self._wishes: dict[Name, tuple[Wish, int]] = {}
        """The latest of every other node, and when it came."""
        self._takes_back = False
        """What we have wished for, and do not wish any more, is to be said once, though we lack nothing."""
        self._granted_in: View | None = None
        self._wish_at = max(core.now.mono, asks_at)
        self._wish_pause = core.timing.resend_after
        self._probation = Probation(core.timing)
        self.refused = ""
        """Why this node was not let in, as it was told last."""

    # --- what is absorbed

    def on_host(self, request: Host) -> None:
        if (fault := fault_in_spec(request.spec)) is not None:
            self.core.out.deliveries.append(HostRefused(request.spec, fault))
            return
        if request.spec.durable and not self.core.ledger.kept:
            self.core.out.deliveries.append(HostRefused(request.spec, "this node keeps no log for durable groups"))
            return
        if len(self._hosts) >= GROUPS_MAX and request.spec.name not in self._hosts:
            reason = f"{self.core.name} hosts {GROUPS_MAX} groups, which is the limit"
            self.core.out.deliveries.append(HostRefused(request.spec, reason))
            return
        self._hosts[request.spec.name] = request.spec
        self._takes_back |= request.spec.name in self._unhosts
        self._speak()
        self._unhosts.discard(request.spec.name)
        self._soon()

    def _speak(self) -> None:
        """An application that restarted gets the state of a group once it asks for it."""
        for seat in self.core.seats.values():
            if self._hosts.get(seat.spec.name) == seat.spec:
                seat.speak(self.core.out.deliveries)

    def on_unhost(self, request: Unhost) -> None:
        self._takes_back |= self._hosts.pop(request.name, None) is not None
        self._unhosts.add(request.name)
        self._soon()

    def on_leave(self, _: Leave) -> None:
        self.leaving = True
        self._soon()

    def is_leaving(self) -> bool:
        """The cluster, or a group."""
        return self.leaving or bool(self._unhosts)

    def is_at_rest(self) -> bool:
        """Nobody wishes anything of the next view, as far as is known here."""
        if self._wishes:
            self._forget_wishes()
        return not (self.leaving or self._unhosts or self._wishes) and self._granted()

    def _soon(self) -> None:
        self._granted_in = None
        self._wish_at = max(self.core.now.mono, self.asks_at if self.core.view is None else 0)
        self._wish_pause = self.core.timing.resend_after

    def on_wish(self, source: Address, wish: Wish) -> None:
        """Remember it if it can be granted, refuse it if never, and answer one that is granted already."""
        core = self.core
        view = core.view
        if view is None or core.excluded or view.id == 0:
            return
        present = view.named(wish.member.name)
        if present == wish.member:
            if wish.joining:
                core.tell_successor(wish.member.address, view.id - 1)
            self._refuse_hosts(view, wish)
        elif (refusal := self._refuse_join(view, present, wish) or self._no_room(view, present, wish)) is not None:
            core.note("join.refused", wish.member, refusal.reason)
            core.post_to([wish.member.address], refusal)
            return
        elif present is not None:
            core.dead.add(present.name)
            if view.rank(present.name) >= 0:  # it may not know that it has a vote here
                core.tell_successor(wish.member.address, view.id - 1)
        self._wishes[wish.member.name] = (wish, core.now.mono)
        self._pass_on(view, source, wish)

    def _refuse_join(self, view: View, present: Member | None, wish: Wish) -> Refuse | None:
        core = self.core
        member = wish.member
        if not wish.joining:
            return Refuse(member, "this incarnation is no member any more", 0)
        least = view.least_incarnation(member.name)
        if member.incarnation < least:
            return Refuse(member, f"incarnation {member.incarnation} of {member.name} was used before", least)
        if present is not None and present.address != member.address and present.name not in core.suspects:
            return Refuse(member, f"the name {member.name} is in use by a live member at {present.address}", 0)
        return None

    def _no_room(self, view: View, present: Member | None, wish: Wish) -> Refuse | None:
        """A view has at most `EVERYONE_MAX` members and learners."""
        waiting = {n for n in self._wishes if view.named(n) is None} | {m.name for m in view.everyone}
        if present is None and len(waiting | {wish.member.name}) > EVERYONE_MAX:
            return Refuse(wish.member, f"the cluster has {EVERYONE_MAX} members and learners, which is its limit", 0)
        return None

    def _refuse_hosts(self, view: View, wish: Wish) -> None:
        for spec in wish.hosts:
            group = view.group_named(spec.name)
            if group is not None and group.spec != spec:
                reason = f"group {spec.name} exists as {group.spec}"
                self.core.post_to([wish.member.address], RefuseHost(spec, reason))

    def _pass_on(self, view: View, source: Address, wish: Wish) -> None:
        """From its node straight to the one that would coordinate; what was passed on is not passed on again."""
        core = self.core
        first = next((m for m in view.members if m.name not in core.suspects), None)
        if source == wish.member.address and first is not None and first.name != core.name:
            core.post([first.name], wish)

    def on_refuse(self, message: Refuse) -> None:
        """`least` is taken up by the machine before this; else we go on trying, more slowly."""
        if message.member == self.core.me and self.core.view is None and not message.least:
            self._wish_pause = min(self._wish_pause * 2, 32 * self.core.timing.resend_after)
            self.refused = message.reason
            self.core.out.deliveries.append(Refusal(message.reason))

    def on_refuse_host(self, message: RefuseHost) -> None:
        self._granted_in = None
        if self._hosts.get(message.spec.name) == message.spec:
            del self._hosts[message.spec.name]
            self.core.out.deliveries.append(HostRefused(message.spec, message.reason))

    # --- our own wish

    def wish(self) -> Wish:
        core = self.core
        hosts = tuple(self._hosts[name] for name in sorted(self._hosts))
        joining = core.view is None or not core.live
        busy = {seat.spec.name for group, seat in core.seats.items() if self._has_messages(group)}
        unhosts = tuple(sorted(self._unhosts - busy))
        return Wish(core.me, joining, hosts, unhosts, self.leaving and not busy, core.ledger.holdings())

    def _has_messages(self, group: GroupId) -> bool:
        """Messages of ours are queued or under way in that group: we do not go before they are delivered.  A learner's
        are sent once it is promoted, so it waits only if it is ready for that: a state that it lacks may never come,
        since those that have it may be leaving, too."""
        core = self.core
        channel = core.channels.get(group)
        if channel is None:
            return False
        learns = [g for g, c in core.channels.items() if c.me < 0] if channel.me < 0 else []
        if learns and (core.room.space or not all(self._is_ready(core.name, g) for g in learns)):
            return False
        return bool(core.seats[group].queue) or not channel.is_settled

    def may_go_alone(self) -> bool:
        """We want to leave, and nothing of ours is on its way that could still be delivered to the only host."""
        if not self.leaving:
            return False
        held = [c for group, c in self.core.channels.items() if self._has_messages(group)]
        return all(len(channel.hosts) < channel.group.spec.min_copies for channel in held)

    def _granted(self) -> bool:
        """The view has all that we want."""
        view = self.core.view
        if view is None or not self.core.live:
            return False
        if self._granted_in is view:
            return True
        if self._lacks_nothing(view):
            self._granted_in = view
            return True
        return False

    def _lacks_nothing(self, view: View) -> bool:
        held = {g.spec.name for g in view.groups if self.core.name in g.everyone}
        if self.core.ledger.could_revive(view):
            return False
        return not self.leaving and set(self._hosts) <= held and not (self._unhosts & held)

    def say_wish(self, seeds: Callable[[], tuple[Address, ...]]) -> None:
        """To whoever would coordinate, or to the seeds, until it is granted."""
        core = self.core
        if core.excluded or core.now.mono < self._wish_at or (self._granted() and not self._takes_back):
            return
        self._takes_back = False
        self._wish_at = core.now.mono + self._wish_pause // 2 + core.rng.randrange(self._wish_pause)
        if core.view is None:
            core.post_to(seeds(), self.wish())
        elif core.view.id > 0 and core.live:
            first = next((m.name for m in core.view.members if m.name not in core.suspects), None)
            if first == core.name:
                self._refuse_hosts(core.view, self.wish())
            elif first is not None:
                core.post([first], self.wish())

    # --- the coordinator's side

    def reasons(self) -> list[str]:
        """Why the view should change; [] if it need not."""
        core = self.core
        view = core.view
        assert view is not None
        if view.id == 0 or not core.live:
            return ["birth" if view.id == 0 else "return"]
        why = []
        names = {m.name for m in view.everyone}
        if core.suspects & names:
            why.append("suspects " + ",".join(sorted(core.suspects)))
        if core.dead & names:
            why.append("dead " + ",".join(sorted(core.dead)))
        if core.frozen or core.freezers:
            why.append("a view change was begun")
        if why or core.now.mono - core.installed_at < core.timing.heartbeat // 2:
            return why  # what can wait is batched
        if any(self._is_open(view, wish) for wish in self._all_wishes().values()):
            why.append("wishes")
        if going := room.to_step_back(core):
            why.append("without room " + ",".join(going))
        if promotable := self.promotable():
            why.append("promote " + ",".join(sorted(promotable)))
        return why

    def _all_wishes(self) -> dict[Name, Wish]:
        self._forget_wishes()
        return {n: w for n, (w, _) in self._wishes.items()} | {self.core.name: self.wish()}

    def _forget_wishes(self) -> None:
        """What is still wished is said again and again."""
        limit = self.core.now.mono - 4 * self.core.timing.suspect_after
        self._wishes = {n: (w, at) for n, (w, at) in self._wishes.items() if at >= limit}

    def _is_open(self, view: View, wish: Wish) -> bool:
        """The next view could grant something of it."""
        name = wish.member.name
        if view.named(name) != wish.member:
            return not wish.leave and wish.member.incarnation >= view.least_incarnation(name)
        others = self._all_wishes() if wish.leave or wish.unhosts else {}
        leavers = {n for n, w in others.items() if w.leave and view.named(n) == w.member}
        if wish.leave:
            lost = {g.id: self.core.suspects | unhosters(g, others) for g in view.groups}
            if name in may_leave(view, leavers | {name}, lost):
                return True
        for spec in wish.hosts:
            group = view.group_named(spec.name)
            if any(s.group.spec.name == spec.name for s in view.suspended):
                continue
            if (group is None and view.rank(name) >= 0) or (
                group and group.spec == spec and name not in group.everyone
            ):
                return True
        if view.rank(name) >= 0 and wish.logs and self._may_revive(view):
            return True
        for unhost in wish.unhosts:
            group = view.group_named(unhost)
            if group is not None and name in may_unhost(group, unhosters(group, others), self.core.suspects | leavers):
                return True
        return False

    def _may_revive(self, view: View) -> bool:
        """Some suspended group could go on with the logs of full members."""
        logs: dict[tuple[int, int], dict[Name, bool]] = {}
        for name, wish in self._all_wishes().items():
            if view.named(name) == wish.member and view.rank(name) >= 0 and name not in self.core.suspects:
                for holding in wish.logs:
                    logs.setdefault((holding.group, holding.view), {})[name] = holding.whole
        return any(is_enough(s.group, logs.get((s.group.id, s.view), {})) for s in view.suspended)

    def promotable(self) -> frozenset[Name]:
        """Learners that are ready in all their groups, and full members that are in a group they joined."""
        core = self.core
        view = core.view
        assert view is not None
        full = {m.name for m in view.members}
        out = set()
        for m in view.everyone:
            learns = [g.id for g in view.groups if m.name in g.learners]
            if (m.name in full and not learns) or m.name in core.suspects or m.name in core.dead:
                continue
            if m.name in core.short and any(g.spec.durable for g in view.groups if m.name in g.learners):
                continue
            if m.name in full:
                if any(self._is_ready(m.name, g) for g in learns):
                    out.add(m.name)
                continue
            claims = core.detector.claims.get(m.name)
            if claims is None or m.name not in core.rows or core.now.mono < self._probation.until(m):
                continue
            heard = all(
                n == core.name or (n in core.detector.claims and m.name in core.detector.claims[n].hears) for n in full
            )
            if full <= claims.hears and heard and all(self._is_ready(m.name, g) for g in learns):
                out.add(m.name)
        return frozenset(out)

    def _is_ready(self, name: Name, group: int) -> bool:
        """It holds the state, and its application is not so far behind that it would close the window for all hosts:
        after a restart it may have a large state to restore, and much of a log to replay."""
        core = self.core
        enough = core.config.limits.window // 2
        if name == core.name:  # not if this process only votes for its former incarnation
            return core.is_synced(group) and core.seats[group].backlog <= enough
        channel = core.channels.get(group)
        if channel is not None and name in channel.synced:
            return channel.backlogs[name] <= enough
        row = core.rows.get(name)
        return row is not None and any(g.group == group and g.synced and g.backlog <= enough for g in row.groups)

    def grounds(self, attempt: Attempt, cluster: int) -> Grounds:
        core = self.core
        view = core.view
        assert view is not None
        now = core.now.mono
        silent = {
            m.name
            for m in view.everyone
            if m.name not in attempt.promises
            and (core.detector.is_cut_off(m.name, now) or m.name in core.dead or m.name in core.detector.gone)
        }
        wishes = self._all_wishes()
        for name, promise in attempt.promises.items():
            known = wishes.get(name)
            if known is None or known.member.incarnation <= promise.wish.member.incarnation:
                wishes[name] = promise.wish
                if name in self._wishes:  # what was taken back is not to be a reason for one view after the other
                    self._wishes[name] = promise.wish, self._wishes[name][1]
        return Grounds(attempt.promises, wishes, silent, attempt.promote, cluster, core.votes.made_by, core.short)

    def installed(self, old: View | None, value: Decision) -> None:
        """A view began: remember who is out, and who was demoted."""
        core = self.core
        new = value.view
        now = core.now.mono
        if old is not None:
            self._probation.changed(old, new, now)
        self._wishes = {n: (w, at) for n, (w, at) in self._wishes.items() if self._is_open(new, w)}
        held = {g.spec.name for g in new.groups if core.name in g.everyone}
        self._unhosts &= held
        self._speak()
        self._wish_at = now + self._wish_pause // 4
        self._wish_pause = core.timing.resend_after

    def deadline(self) -> int | None:
        core = self.core
        if core.excluded:
            return None
        times = []
        if core.view is not None:
            times.append(core.installed_at + core.timing.heartbeat // 2)
            times += self._probation.ends()
        due = [t for t in times if t > core.now.mono]
        if not self._granted() and (core.view is None or core.live):
            due.append(self._wish_at)
        return min(due, default=None)
