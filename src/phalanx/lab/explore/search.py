"""Every state that three members and the links between them can reach, breadth first.

A state of all is nine numbers and what is left of the bounds: the states of the members, and of each of the six links
what is in flight on it, oldest first.  It is kept as one integer, whole (no hash compaction), so "complete" means that
every reachable state within the bounds was judged.  Breadth first, so the path to the first violation is a shortest one.

Reductions that lose no state:

- A message to a crashed member is dropped at once: nobody will ever take it.  A restarted process has new connections.
- An action that changes nothing is not taken (and costs nothing of the bounds).
- What `fork` leaves out of a state, and the bounds that are used up, say nothing about the future.

A reduction that leaves out states, on request (Godefroid, "Partial-Order Methods for the Verification of Concurrent
Systems", 1996): where faults of different members share no bound, their steps commute, but for what one sends another.
Of all orders of such steps that differ in nothing else at least one is taken to its end, and the same steps of the same
code run in it.  What the judges find wrong stays wrong in all that follows, so it is seen at the end of that order at
the latest; only the path to it may not be a shortest one, and quiet states are judged where nobody can do anything.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from phalanx.lab.explore.birth import births
from phalanx.lab.explore.calm import Calm
from phalanx.lab.explore.members import Broken, Members, MessageId, Place, Posted, StateId
from phalanx.lab.explore.oracle import Oracle
from phalanx.lab.explore.scenarios import NAMES, Scenario
from phalanx.lab.explore.story import say_changes, say_message

Link = int
LINKS = tuple((i, j) for i in range(3) for j in range(3) if i != j)
"""The links, from whom to whom, by number."""
_LINK_OF = {pair: number for number, pair in enumerate(LINKS)}

_FIELD = 24
"""Bits of a number in the integer of a whole state: up to 16 million states of members, and as many queues."""

_PHRASES = {
    "send": "is to multicast",
    "release": "has its votes on the disk",
    "tick": "has its clock jump to its deadline",
    "crash": "crashes",
    "restart": "starts again",
    "refused": "gets evidence that {} is gone",
    "suspect": "gets false evidence that {} is gone",
}

REPORT_EVERY = 5_000
"""States between two calls of `progress`."""

SHORTEST_MAX = 1_000_000
"""States to visit for a shorter path than the one that was found."""


class Left(NamedTuple):
    """What is left of the bounds."""

    crashes: int
    restarts: int
    suspicions: int
    pairs: tuple[tuple[Place, Place], ...]
    """Who may still get false evidence against whom."""
    losses: int
    ticks: int


class Whole(NamedTuple):
    """A state of all."""

    members: tuple[StateId, StateId, StateId]
    links: tuple[int, ...]
    left: int


class Action(NamedTuple):
    """One thing that can happen next: `what` at member or link `where`, with `whom` where there is one."""

    what: str
    where: int
    whom: int = 0


class Report(NamedTuple):
    """How far an exploration has come, or how it ended."""

    scenario: str
    states: int
    transitions: int
    depth: int
    frontier: int
    quiet: int
    """Quiet states that were asked whether they are wedged."""
    steps: int
    """How often the real code ran."""
    complete: bool
    violation: str | None = None
    path: tuple[str, ...] = ()


def explore(
    scenario: Scenario,
    states_max: int | None = None,
    progress: Callable[[Report], None] | None = None,
    *,
    every: bool = False,
) -> Report:
    """Explore a scenario up to equivalence; after a violation, again without the reduction, for a shortest path.

    states_max: visit at most so many states (None: all).
    progress: called every `REPORT_EVERY` states.
    every: visit every state, those too that the reduction would leave out.
    """
    report = Explorer(scenario, reduce=not every).run(states_max, progress)
    if report.violation is not None and not every:
        shortest = Explorer(scenario).run(SHORTEST_MAX, progress)
        if shortest.violation is not None:
            return shortest
    return report


class Explorer:
    """One exploration."""

    def __init__(self, scenario: Scenario, *, ordered: bool = False, reduce: bool = False) -> None:
        """ordered: see `Members`.  reduce: leave out interleavings of steps that commute (see the module's text)."""
        self.scenario = scenario
        self._reduce = reduce
        self.members = Members(scenario, ordered=ordered)
        self.oracle = Oracle(self.members)
        self.calm = Calm(self.members)
        self._queues: list[tuple[MessageId, ...]] = [()]
        self._queue_ids: dict[tuple[MessageId, ...], int] = {(): 0}
        self._lefts: list[Left] = []
        self._left_ids: dict[Left, int] = {}
        self._own: dict[tuple[StateId, int], list[Action]] = {}
        self._actions: list[Action] = []
        self._action_ids: dict[Action, int] = {}
        self._parents = array("Q")
        self._taken = array("H")
        self._transitions = 0
        self._quiet = 0

    # --- the search

    def run(self, states_max: int | None = None, progress: Callable[[Report], None] | None = None) -> Report:
        """Visit all states, or as many as allowed; stop at the first violation."""
        first = self._first()
        seen = {_pack(first)}
        frontier = [(first, 0)]
        self._note(0, Action("start", 0))
        depth = 0
        complete = True
        while frontier:
            following: list[tuple[Whole, int]] = []
            depth += 1
            for state, number in frontier:
                if (wrong := self._judge(state)) is not None:
                    return self._report(depth, 0, False, wrong, number)
                if states_max is not None and len(self._parents) >= states_max:
                    complete = False
                    continue
                try:
                    for action, after in self._enough(state, seen):
                        self._transitions += 1
                        key = _pack(after)
                        if key not in seen:
                            seen.add(key)
                            following.append((after, self._note(number, action)))
                except Broken as broken:
                    return self._report(depth, 0, False, f"raised: {broken}", number, self._last)
                if progress is not None and len(self._parents) // REPORT_EVERY != self._reported:
                    self._reported = len(self._parents) // REPORT_EVERY
                    progress(self._report(depth, len(following), False))
            frontier = following
        return self._report(depth, 0, complete)

    _reported = 0
    _last = Action("start", 0)

    def _note(self, parent: int, action: Action) -> int:
        number = self._action_ids.setdefault(action, len(self._actions))
        if number == len(self._actions):
            self._actions.append(action)
        self._parents.append(parent)
        self._taken.append(number)
        return len(self._parents) - 1

    def _first(self) -> Whole:
        s = self.scenario
        a, b, c = births(self.members)
        pairs = s.suspicions if s.suspicions_max else ()
        left = Left(s.crashes, s.restarts, s.suspicions_max, pairs, s.losses, s.ticks)
        return Whole((a, b, c), (0,) * len(LINKS), self._left(left))

    def _judge(self, state: Whole) -> str | None:
        if (wrong := self.oracle.judge(*state.members)) is not None:
            return wrong
        if not any(state.links) and not any(self.members.states[n].waiting for n in state.members):
            self._quiet += 1
            return self.calm.judge(state.members)
        return None

    # --- what can happen next

    def _successors(self, state: Whole) -> list[tuple[Action, Whole]]:
        return [step for place in range(3) for step in self._steps_at(state, place)]

    def _enough(self, state: Whole, seen: set[int]) -> list[tuple[Action, Whole]]:
        """The steps of one member, if all others commute with them for ever; else all steps.

        Where no bound is shared (`_is_alone`), what other members do changes nothing at this one but by a message that
        arrives on an empty link: if none of its links is empty, but for those that can never carry one again, its steps
        are a persistent set.  One that leads to nothing new is not enough, so nobody is put off for ever in a cycle."""
        if self._reduce:
            left = self._lefts[state.left]
            for place in range(3):
                if self._is_alone(left, place) and self._hears_no_more(state, place):
                    steps = list(self._steps_at(state, place))
                    if any(_pack(after) not in seen for _, after in steps):
                        return steps
        return self._successors(state)

    def _is_alone(self, left: Left, place: Place) -> bool:
        """No fault elsewhere uses up a bound of this member, or is evidence for it.  (A crash or a restart elsewhere is;
        its own crash is evidence for others, but none that they could have had before.)"""
        return (
            not left.restarts
            and not left.losses
            and (not left.crashes or self.scenario.victims == (place,))
            and left.suspicions >= len(left.pairs)
            and (not left.ticks or len(self.scenario.tickers) == 1)
        )

    def _hears_no_more(self, state: Whole, place: Place) -> bool:
        """Nothing can arrive there that is not at the head of a link already."""
        states = self.members.states
        return all(
            queue or states[state.members[source]].machine is None
            for (source, to), queue in zip(LINKS, state.links, strict=True)
            if to == place
        )

    def _steps_at(self, state: Whole, place: Place) -> Iterator[tuple[Action, Whole]]:
        """What can happen to that member: messages arrive, or get lost on the way, or it does something itself."""
        members, links, left_id = state
        left = self._lefts[left_id]
        for link, queue_id in enumerate(links):
            if queue_id and LINKS[link][1] == place:
                queue = self._queues[queue_id]
                rest = (*links[:link], self._queue(queue[1:]), *links[link + 1 :])
                self._last = action = Action("deliver", link)
                after, posted = self.members.receive(members[place], queue[0])
                yield action, self._arrive(members, rest, left_id, place, after, posted)
                if left.losses and self.members.is_prepare(queue[0]):
                    yield Action("lose", link), Whole(members, rest, self._left(left._replace(losses=left.losses - 1)))
        yield from self._own_steps(state, place)

    def _own_steps(self, state: Whole, place: Place) -> Iterator[tuple[Action, Whole]]:
        members, links, left_id = state
        number = members[place]
        left = self._lefts[left_id]
        for what, act, cost in self._choices(number, place, left):
            self._last = action = Action(what, place)
            after, posted = act(number)
            if after != number or posted:
                new_links = self._cut_off(links, place) if what == "crash" else links
                spent = self._left(left._replace(**{cost: getattr(left, cost) - 1})) if cost else left_id
                yield action, self._arrive(members, new_links, spent, place, after, posted)
        if self.members.states[number].machine is None:
            return
        for whom in range(3):
            real = self.members.states[members[whom]].machine is None
            if whom == place or not (real or (place, whom) in left.pairs):
                continue
            self._last = action = Action("refused" if real else "suspect", place, whom)
            after, posted = self.members.refused(number, whom)
            if after != number or posted:
                spent = left_id if real else self._left(_doubt(left, (place, whom)))
                yield action, self._arrive(members, links, spent, place, after, posted)

    def _choices(
        self, number: StateId, place: Place, left: Left
    ) -> Iterator[tuple[str, Callable[[StateId], tuple[StateId, Posted]], str]]:
        """What member `place` can do by itself: the action, how it is done, which bound it costs."""
        state = self.members.states[number]
        if state.machine is None:
            if left.restarts:
                yield "restart", self.members.restart, "restarts"
            return
        if state.unsent and state.parting is None:
            yield "send", self.members.send, ""
        if state.waiting:
            yield "release", self.members.release, ""
        if left.crashes and place in self.scenario.victims:
            yield "crash", self.members.crash, "crashes"
        if left.ticks and place in self.scenario.tickers:
            yield "tick", self.members.tick, "ticks"

    def _arrive(
        self,
        members: tuple[StateId, StateId, StateId],
        links: tuple[int, ...],
        left: int,
        place: Place,
        after: StateId,
        posted: Posted,
    ) -> Whole:
        changed = [*members]
        changed[place] = after
        if posted:
            queues = [*links]
            for to, message in posted:
                if self.members.states[members[to]].machine is not None:
                    link = _LINK_OF[place, to]
                    queues[link] = self._queue((*self._queues[queues[link]], message))
            links = tuple(queues)
        return Whole((changed[0], changed[1], changed[2]), links, left)

    @staticmethod
    def _cut_off(links: tuple[int, ...], place: Place) -> tuple[int, ...]:
        return tuple(0 if LINKS[link][1] == place else queue for link, queue in enumerate(links))

    # --- numbers

    def _queue(self, queue: tuple[MessageId, ...]) -> int:
        number = self._queue_ids.setdefault(queue, len(self._queues))
        if number == len(self._queues):
            self._queues.append(queue)
        return number

    def _left(self, left: Left) -> int:
        number = self._left_ids.setdefault(left, len(self._lefts))
        if number == len(self._lefts):
            self._lefts.append(left)
        return number

    # --- the report

    def _report(
        self,
        depth: int,
        frontier: int,
        complete: bool,
        violation: str | None = None,
        number: int = 0,
        last: Action | None = None,
    ) -> Report:
        path: tuple[str, ...] = ()
        if violation is not None:
            path = self._path(number, last)
        return Report(
            self.scenario.name,
            len(self._parents),
            self._transitions,
            depth,
            frontier,
            self._quiet,
            self.members.steps,
            complete,
            violation,
            path,
        )

    def _path(self, number: int, last: Action | None) -> tuple[str, ...]:
        """The actions that lead to that state, as text."""
        actions: list[Action] = []
        while number:
            actions.append(self._actions[self._taken[number]])
            number = self._parents[number]
        state = self._first()
        lines: list[str] = []
        for action in reversed(actions):
            lines.append(self._text(state, action))
            after = next(after for a, after in self._successors(state) if a == action)
            for old, new in zip(state.members, after.members, strict=True):
                lines += say_changes(self.members.states[old], self.members.states[new])
            state = after
        return (*lines, *([self._text(state, last)] if last is not None else []))

    def _text(self, state: Whole, action: Action) -> str:
        what, where, whom = action
        if what in ("deliver", "lose"):
            source, to = LINKS[where]
            body = self.members.messages[self._queues[state.links[where]][0]][1].body
            return f"{NAMES[source]} -> {NAMES[to]}  {say_message(body)}{'  is lost' if what == 'lose' else ''}"
        return f"{NAMES[where]} " + _PHRASES[what].format(NAMES[whom])


def _doubt(left: Left, pair: tuple[Place, Place]) -> Left:
    """What is left after that false evidence."""
    pairs = tuple(p for p in left.pairs if p != pair) if left.suspicions > 1 else ()
    return left._replace(suspicions=left.suspicions - 1, pairs=pairs)


def _pack(state: Whole) -> int:
    packed = state.left
    for number in (*state.members, *state.links):
        packed = packed << _FIELD | number
    return packed
