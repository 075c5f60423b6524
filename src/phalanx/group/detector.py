"""Whom to suspect (DESIGN section 7).

Facts: how long each member has been silent; evidence that a process is gone; what each member claims about whom it hears
and suspects; who did not answer when asked.  Rules, in this order:

- gone: nobody listens at its address, or a newer incarnation was heard.  Suspected at once.
- stuck: it is heard, but did not answer a ballot, or made no progress as coordinator, or holds everybody up.
- cut off: we do not hear it, or it has claimed for `suspect_after` not to hear us.  Suspected, unless someone whom we
  hear vouches for it: then accusations are weighed for `patience`, and the members outside the largest set that can all
  talk, elders preferred, are suspected (`excess`).  One that finds itself outside steps aside.
- held up: all other hosts of a group that is not ours suspect one that they hear: we cannot see who lags there.
- accused: more than half of the members that we hear suspect it.

The last two count only suspicions with *grounds*, those by the first three rules: else what one suspects because others
do would be a reason for these to suspect it, and a rumour would outlive what it began with.

A suspicion ends when its grounds do; a promise given meanwhile stands (DESIGN section 6).
"""

from collections.abc import Iterable
from typing import NamedTuple

from phalanx.group.config import Timing
from phalanx.model.view import Name, View
from phalanx.parts.quorum import is_quorum, largest_clique
from phalanx.parts.silence import Silence


class Claims(NamedTuple):
    """What a member last said: whom it hears, whom it suspects, whom of them with grounds of its own, and for each member
    that it hears (by its place in the view) the mask of whom that one said to hear."""

    hears: frozenset[Name]
    suspects: frozenset[Name]
    grounds: frozenset[Name]
    others: tuple[int, ...] = ()


class Detector:
    """All times are monotonic nanoseconds."""

    def __init__(self, me: Name, timing: Timing) -> None:
        self.me = me
        self.timing = timing
        self.silence = Silence(timing.suspect_after)
        self.gone: set[Name] = set()
        """Voters that no process speaks for."""
        self._stuck: dict[Name, int] = {}
        self.lagging: frozenset[Name] = frozenset()
        self.claims: dict[Name, Claims] = {}
        self.grounds: frozenset[Name] = frozenset()
        """Those that we suspect, and would if nobody else did."""
        self.aside = False
        """We are outside the largest set that can all talk."""
        self._view: View | None = None
        self._names: tuple[Name, ...] = ()
        self._elsewhere: list[frozenset[Name]] = []
        """The hosts of groups that we do not host."""
        self._deaf_since: dict[Name, int] = {}
        self._weighing_since: int | None = None
        self._excess: frozenset[Name] = frozenset()
        self._suspects: frozenset[Name] = frozenset()
        self._cut: frozenset[Name] = frozenset()
        self._hears: frozenset[Name] = frozenset()
        self._changed = True
        """A fact changed since the rules were last applied."""
        self._until = 0
        """When they would give another answer although no fact changes."""
        self.version = 0
        """Grows with every change of `claims` or of the answers given."""

    def begin(self, view: View, now: int) -> None:
        """A view begins: every member gets the benefit of the doubt, except those gone."""
        self._view = view
        self._names = tuple(m.name for m in view.everyone)
        places = dict.fromkeys(frozenset(group.hosts) for group in view.groups)
        self._elsewhere = [hosts for hosts in places if self.me not in hosts and len(hosts) > 1]
        others = [n for n in self._names if n != self.me]
        self.silence.watch(others, now)
        self.gone &= set(others)
        self._stuck.clear()
        self.lagging = frozenset()
        self.claims = {}
        self._deaf_since.clear()
        self._weighing_since = None
        self._excess = self.grounds = frozenset()
        self.aside = False
        self._changed = True
        self.version += 1

    # --- facts

    def heard(self, name: Name, now: int) -> None:
        self.silence.heard(name, now)
        if name in self._cut:
            self.gone.discard(name)
            self._changed = True

    def excuse(self, pause: int) -> None:
        """We were not stepped for that long: the silence was ours."""
        self.silence.excuse(pause)
        self._deaf_since = {name: since + pause for name, since in self._deaf_since.items()}
        if self._weighing_since is not None:
            self._weighing_since += pause
        self._changed = True

    def is_gone(self, name: Name) -> None:
        """Nobody speaks for that member: positive evidence."""
        self.gone.add(name)
        self._changed = True

    def lag(self, names: frozenset[Name]) -> None:
        """These hold the others up at present."""
        if names != self.lagging:
            self.lagging = names
            self._changed = True

    def claimed(self, name: Name, claims: Claims, now: int) -> None:
        """What a member says of the others."""
        known = self.claims.get(name)
        if known is claims or (known == claims and (self.me in claims.hears) == (name not in self._deaf_since)):
            return
        self.claims[name] = claims
        self.version += 1
        self._changed = True
        if self.me in claims.hears:
            self._deaf_since.pop(name, None)
        else:
            self._deaf_since.setdefault(name, now)

    def mark_stuck(self, names: Iterable[Name], now: int) -> None:
        """They are heard, but hold a view change up: suspected for a while, then they get another chance."""
        for name in names:
            if name != self.me:
                self._stuck[name] = now + 2 * self.timing.suspect_after
                self._changed = True

    def answered(self, name: Name) -> None:
        if self._stuck.pop(name, None) is not None:
            self._changed = True

    # --- rules

    def is_cut_off(self, name: Name, now: int) -> bool:
        """Nothing passes between it and us in one direction or the other."""
        if name == self.me:
            return False
        deaf = self._deaf_since.get(name)
        return (
            name in self.gone
            or self.silence.is_silent(name, now)
            or (deaf is not None and now - deaf >= self.timing.suspect_after)
        )

    def hears(self, now: int) -> frozenset[Name]:
        """Whom we hear, ourselves included: what we claim to the others."""
        self.suspects(now)
        return self._hears

    def suspects(self, now: int) -> frozenset[Name]:
        """Weigh the facts (anew only if they, or time, can have changed the answer)."""
        if self.must_judge(now):
            self._suspects = self._judge(now)
            self._changed = False
            self._until = self._next_change(now)
            self.version += 1
        return self._suspects

    def must_judge(self, now: int) -> bool:
        """A fact, or enough time, may have changed the answer."""
        return self._changed or now >= self._until

    @property
    def hears_all(self) -> bool:
        """When the facts were last weighed, nobody was cut off from us, nor weighed."""
        return not self._cut and self._weighing_since is None

    def _judge(self, now: int) -> frozenset[Name]:
        self._stuck = {n: until for n, until in self._stuck.items() if until > now}
        cut = {n for n in self._names if self.is_cut_off(n, now)}
        self._cut = frozenset(cut)
        silent = self.silence.is_silent
        self._hears = frozenset(n for n in self._names if n == self.me or not (n in self.gone or silent(n, now)))
        reachable = [n for n in self._names if n not in cut]
        vouched = {
            n
            for n in cut - self.gone
            if any(n in self.claims[r].hears for r in reachable if r != self.me and r in self.claims and r != n)
        }
        self._weigh(cut, vouched, now)
        suspected = (cut - vouched) | self.gone | self._stuck.keys() | self.lagging | self._excess
        self.grounds = frozenset(suspected) - {self.me}
        for hosts in self._elsewhere:
            suspected |= self._held_up(hosts, suspected)
        assert self._view is not None
        full = {m.name for m in self._view.members}  # of a learner's accusations nothing would come, and so no end
        judges = [r for r in reachable if r in full and r not in suspected and r in self.claims and r != self.me]
        for name in self._names:
            votes = sum(name in self.claims[j].grounds for j in judges if j != name) + (name in suspected)
            if name != self.me and 2 * votes > len(judges) + 1:
                suspected.add(name)
        return frozenset(suspected) - {self.me}

    def _held_up(self, hosts: frozenset[Name], suspected: set[Name]) -> set[Name]:
        """Of a group that we do not host: whom all its other hosts suspect although they hear it.  Who does not receive
        what is sent in it, they alone can see, and they may be too few to change the view.  Nobody, if those that would
        be left are no quorum."""
        view = self._view
        assert view is not None
        judges = [h for h in hosts if h in self.claims and h not in suspected]
        against = {j: self.claims[j].grounds & self.claims[j].hears & hosts for j in judges}
        accused = frozenset().union(*against.values())
        rest = [j for j in judges if j not in accused]
        held = {name for name in accused if rest and all(name in against[j] for j in rest)}
        left = [m.name for m in view.members if m.name not in suspected and m.name not in held]
        return held if held and is_quorum(view, left) else set()

    def _weigh(self, cut: set[Name], vouched: set[Name], now: int) -> None:
        """Partial partitions: after `patience`, keep the largest set of which every two hear each other."""
        view = self._view
        assert view is not None
        alive = [m.name for m in view.members if m.name not in self.gone and (m.name not in cut or m.name in vouched)]
        broken = any(not self._linked(a, b, cut) for i, a in enumerate(alive) for b in alive[i + 1 :])
        if not broken:
            self._weighing_since, self._excess, self.aside = None, frozenset(), False
            return
        if self._weighing_since is None:
            self._weighing_since = now
        if now - self._weighing_since >= self.timing.patience:
            best = largest_clique(alive, lambda a, b: self._linked(a, b, cut), lambda names: is_quorum(view, names))
            self._excess = frozenset(alive) - set(best) if best else frozenset()
            self.aside = self.me in self._excess
            self._excess -= {self.me}

    def _linked(self, a: Name, b: Name, cut: set[Name]) -> bool:
        if self.me in (a, b):
            return (b if a == self.me else a) not in cut
        return self._said(a, b, cut) and self._said(b, a, cut)

    def _said(self, one: Name, other: Name, cut: set[Name]) -> bool:
        """`one` does not deny to hear `other`, as far as we know: from itself, or from somebody who hears it."""
        if one not in cut:
            return one not in self.claims or other in self.claims[one].hears
        place, bit = self._names.index(one), self._names.index(other)
        for name, claims in self.claims.items():
            if name not in cut and one in claims.hears and place < len(claims.others) and claims.others[place]:
                return bool(claims.others[place] >> bit & 1)
        return True

    def _next_change(self, now: int) -> int:
        """When, if nothing is heard, a rule gives another answer."""
        times = [self.silence.overdue_at(n) for n in self._names if n != self.me and n not in self.gone]
        times += [since + self.timing.suspect_after for since in self._deaf_since.values()]
        times += self._stuck.values()
        if self._weighing_since is not None:
            times.append(self._weighing_since + self.timing.patience)
        return min((t for t in times if t > now), default=1 << 62)

    @property
    def deadline(self) -> int | None:
        """When to weigh the facts again, at the latest."""
        return self._until if self._until < 1 << 62 else None
