"""What a coordinator does (DESIGN section 6): when to try, whom to wait for, what to propose, when to try again."""

from collections.abc import Callable

from phalanx.group.core import Core
from phalanx.group.flush import Attempt, Phase
from phalanx.group.membership import Membership
from phalanx.group.messages import Accept, Ballot, Commit, Decision, Gather, Held, Nack, Prepare, Promise
from phalanx.group.proposal import plan
from phalanx.model.view import Name
from phalanx.parts.quorum import is_quorum


class Coordinator:
    """The part of a node that makes views."""

    def __init__(self, core: Core, membership: Membership, new_cluster: Callable[[], int]) -> None:
        self.core = core
        self.membership = membership
        self._new_cluster = new_cluster
        self._retry_at = 0

    def begin(self) -> None:
        self._retry_at = 0

    def excuse(self, pause: int) -> None:
        """We were not stepped for that long, and could neither hear those that we ask nor our coordinator."""
        if (attempt := self.core.attempt) is not None:
            attempt.started += pause
        if (flush := self.core.flush) is not None and flush.since is not None:
            flush.since += pause

    # --- what is absorbed

    def on_promise(self, sender: Name, message: Promise) -> None:
        attempt = self.core.attempt
        if attempt is not None and attempt.ballot == message.ballot and attempt.phase is Phase.PREPARE:
            attempt.promises[sender] = message
            self.core.detector.answered(sender)

    def on_nack(self, sender: Name, message: Nack) -> None:
        """Give up if the ballot is outbid, or if somebody with a say hears an elder of ours (the elder itself, which we
        suspect, would say so as long as it lives)."""
        core = self.core
        assert core.flush is not None
        if message.promised is not None:
            core.flush.highest = max(core.flush.highest, message.promised.counter)
        attempt = core.attempt
        if attempt is None or attempt.ballot != message.ballot or attempt.phase is Phase.ACCEPT:
            return
        outbid = message.promised is not None and message.promised > attempt.ballot
        if outbid or sender not in core.suspects:
            self._give_up("nack")

    def on_held(self, sender: Name, message: Held) -> None:
        attempt = self.core.attempt
        if attempt is not None and attempt.ballot == message.ballot:
            attempt.held.add(sender)

    # --- rules

    def act(self) -> None:
        core = self.core
        if core.view is None or core.excluded or core.decision is not None or not core.votes_here:
            return
        self._watch_coordinator()
        if core.attempt is None:
            if core.now.mono >= self._retry_at and self._may_try() and self.membership.reasons():
                self._start()
        elif core.flush is not None and core.flush.promised is not None and core.flush.promised > core.attempt.ballot:
            self._give_up("outbid")
        elif core.attempt.phase is not Phase.ACCEPT and not self._may_try():
            self._give_up("no longer called for")
        if core.attempt is not None:
            self._advance(core.attempt)

    def _may_try(self) -> bool:
        """All our elders are suspected, by us and by a quorum together with those suspected themselves; and a quorum
        is there to be asked."""
        core = self.core
        view = core.view
        assert view is not None
        elders = {m.name for m in view.members[: view.rank(core.name)]}
        if view.id == 0 and core.now.mono < self._found_at():
            return False
        if core.detector.aside or not elders <= core.suspects or not core.hears_quorum():
            return False
        agree = {core.name} | {
            m.name
            for m in view.members
            if m.name not in core.suspects
            and m.name in core.detector.claims
            and elders <= core.detector.claims[m.name].suspects
        }
        return not elders or is_quorum(view, agree)

    def _found_at(self) -> int:
        """A founder that knows of others asks them first: its disk may have been lost, and the cluster be there."""
        core = self.core
        founders = {address for _, address in core.config.peers}
        return core.started + (core.timing.suspect_after if set(core.config.seeds) - founders else 0)

    def _start(self) -> None:
        core = self.core
        assert core.flush is not None and core.view is not None
        core.flush.highest += 1
        ballot = Ballot(core.flush.highest, core.name, core.me.incarnation)
        core.attempt = Attempt(ballot, core.now.mono)
        core.attempt.promote = self.membership.promotable()
        core.note("prepare", ballot, *self.membership.reasons())
        self._ask(core.attempt)

    def _asked(self, attempt: Attempt) -> list[Name]:
        assert self.core.view is not None
        return [m.name for m in self.core.view.members] + sorted(attempt.promote)

    def _ask(self, attempt: Attempt) -> None:
        core = self.core
        assert core.view is not None
        names = [n for n in self._asked(attempt) if n not in attempt.promises]
        hears = core.mask(core.detector.hears(core.now.mono))
        core.post(names, Prepare(core.view.id, attempt.ballot, hears))
        attempt.sent_at = core.now.mono

    def _give_up(self, why: str) -> None:
        core = self.core
        assert core.attempt is not None
        core.note("attempt.abort", core.attempt.phase.value, why)
        core.attempt = None
        self._retry_at = core.now.mono + core.rng.randrange(core.timing.heartbeat) + core.timing.heartbeat // 4

    def _advance(self, attempt: Attempt) -> None:
        core = self.core
        resend = core.now.mono - attempt.sent_at >= core.timing.resend_after
        match attempt.phase:
            case Phase.PREPARE:
                if not self._complete(attempt):
                    if resend:
                        self._ask(attempt)
                    return
                self._propose(attempt)
            case Phase.GATHER:
                lacking = attempt.lacking()
                if not lacking:
                    self._accept(attempt)
                elif any(n in core.suspects for n in lacking) or self._is_late(attempt):
                    core.detector.mark_stuck(lacking if self._is_late(attempt) else (), core.now.mono)
                    self._give_up("a member that must hold the cut is suspected")
                elif resend:
                    self._gather(attempt)
            case Phase.ACCEPT:
                if self._is_late(attempt):
                    self._give_up("no quorum accepted")
                elif resend:
                    self._send_accept(attempt)

    def _is_late(self, attempt: Attempt) -> bool:
        return self.core.now.mono - attempt.started >= 2 * self.core.timing.suspect_after

    def _complete(self, attempt: Attempt) -> bool:
        """Everybody unsuspected has answered, and those who answered are a quorum.  No answer in time is suspicion."""
        core = self.core
        view = core.view
        assert view is not None
        asked = core.now.mono - attempt.started
        missing = [n for n in self._asked(attempt) if n not in attempt.promises and n not in core.suspects]
        if asked >= core.timing.suspect_after:
            if late := [n for n in missing if n != core.name]:
                core.note("unresponsive", *late)
            core.detector.mark_stuck(missing, core.now.mono)
            missing = [n for n in missing if n == core.name]
        if asked >= core.timing.patience:
            missing = [n for n in missing if n not in attempt.promote]
        answered = [m.name for m in view.members if m.name in attempt.promises]
        return not missing and is_quorum(view, answered)

    def _propose(self, attempt: Attempt) -> None:
        core = self.core
        assert core.view is not None
        value = attempt.adopted()
        if value is not None:
            core.note("adopt", attempt.ballot)
            attempt.value = value
            self._accept(attempt)
            return
        new = plan(core.view, self.membership.grounds(attempt, core.cluster if core.view.id else self._new_cluster()))
        if new is None:
            if core.now.mono - attempt.started >= core.timing.suspect_after:
                self._give_up("those that answered can make no view")
            return
        attempt.plan, attempt.value = new, new.decision
        core.note("propose", *(str(m) for m in new.decision.view.members), "|", *map(str, new.decision.view.learners))
        attempt.enter(Phase.GATHER, core.now.mono)
        self._gather(attempt)
        if not attempt.lacking():
            self._accept(attempt)

    def _gather(self, attempt: Attempt) -> None:
        core = self.core
        assert core.view is not None and attempt.plan is not None
        for name, cuts in attempt.lacking().items():
            core.note("gather", name)
            holders = tuple(attempt.plan.holders[cut.group] for cut in cuts)
            core.post([name], Gather(core.view.id, attempt.ballot, cuts, holders))
        attempt.sent_at = core.now.mono

    def _accept(self, attempt: Attempt) -> None:
        attempt.enter(Phase.ACCEPT, self.core.now.mono)
        self._send_accept(attempt)

    def _send_accept(self, attempt: Attempt) -> None:
        core = self.core
        assert core.view is not None and attempt.value is not None
        core.post([m.name for m in core.view.members], Accept(core.view.id, attempt.ballot, attempt.value))
        attempt.sent_at = core.now.mono

    def announce(self, value: Decision) -> None:
        """The coordinator of a decided ballot tells all whom it concerns; so does one that is not in the new view,
        for it may be the only one left that knows (counter-example 9)."""
        core = self.core
        assert core.view is not None
        if core.attempt is not None or value.view.named(core.name) != core.me:
            to = {m.address for m in (*core.view.everyone, *value.view.everyone)} - {core.me.address}
            core.post_to(sorted(to), Commit(value), value.view.cluster)

    def _watch_coordinator(self) -> None:
        """Frozen for long by a coordinator that is heard: it is stuck (a hung disk answers heartbeats for ever)."""
        core = self.core
        flush = core.flush
        if flush is None or flush.promised is None or flush.since is None or core.attempt is not None:
            return
        if core.now.mono - flush.since >= 3 * core.timing.suspect_after and core.hears_quorum():
            flush.since = core.now.mono
            if flush.promised.name != core.name:
                core.note("coordinator.stuck", flush.promised.name)
                core.detector.mark_stuck([flush.promised.name], core.now.mono)

    def deadline(self) -> int | None:
        core = self.core
        if core.view is None or core.excluded or not core.votes_here or core.decision is not None:
            return None
        now = core.now.mono
        times = []
        if core.attempt is not None:
            attempt = core.attempt
            times.append(attempt.sent_at + core.timing.resend_after)
            for wait in (core.timing.patience, core.timing.suspect_after, 2 * core.timing.suspect_after):
                times.append(attempt.started + wait)
        elif self._retry_at > now:
            times.append(self._retry_at)
        if core.view.id == 0:
            times.append(self._found_at())
        if core.flush is not None and core.flush.since is not None:
            times.append(core.flush.since + 3 * core.timing.suspect_after)
        return min((t for t in times if t > now), default=None)
