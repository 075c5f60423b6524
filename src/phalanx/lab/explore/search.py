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
from functools import partial

from phalanx.lab.explore.birth import births
from phalanx.lab.explore.calm import Calm
from phalanx.lab.explore.members import Broken, Members, MessageId, Place, Posted, StateId
from phalanx.lab.explore.oracle import Oracle
from phalanx.lab.explore.scenarios import NAMES, Scenario
from phalanx.lab.explore.story import say_changes, say_message
from phalanx.lab.explore.whole import LINK_OF, LINKS, Action, Left, Report, Whole, doubt, pack

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


Choice = tuple[Action, Callable[[], tuple[StateId, Posted]], Left]
"""An action of one member, how it is done, and what is left of the bounds."""

_DELIVERIES = tuple(Action("deliver", link) for link in range(len(LINKS)))


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
        self._own: dict[tuple[StateId, tuple[Place, ...], int], list[tuple[Action, StateId, Posted, int]]] = {}
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
        seen = {pack(first)}
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
                        key = pack(after)
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
                    if any(pack(after) not in seen for _, after in steps):
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
        for link, queue_id in enumerate(links):
            if queue_id and LINKS[link][1] == place:
                queue = self._queues[queue_id]
                rest = (*links[:link], self._queue(queue[1:]), *links[link + 1 :])
                self._last = _DELIVERIES[link]
                after, posted = self.members.receive(members[place], queue[0])
                yield self._last, self._arrive(members, rest, left_id, place, after, posted)
                left = self._lefts[left_id]
                if left.losses and self.members.is_prepare(queue[0]):
                    yield Action("lose", link), Whole(members, rest, self._left(left._replace(losses=left.losses - 1)))
        for action, after, posted, spent in self._own_steps(members, place, left_id):
            kept = self._cut_off(links, place) if action.what == "crash" else links
            yield action, self._arrive(members, kept, spent, place, after, posted)

    def _own_steps(
        self, members: tuple[StateId, StateId, StateId], place: Place, left_id: int
    ) -> list[tuple[Action, StateId, Posted, int]]:
        """What that member can do by itself or learn of the others' processes, if it changes anything; and what is left
        of the bounds then.  Depends on its state, on who has crashed, and on what is left."""
        states = self.members.states
        gone = tuple(whom for whom in range(3) if whom != place and states[members[whom]].machine is None)
        key = members[place], gone, left_id
        steps = self._own.get(key)
        if steps is None:
            left = self._lefts[left_id]
            choices = [*self._choices(members[place], place, left), *self._evidence(members[place], place, gone, left)]
            steps = []
            for action, act, spent in choices:
                self._last = action
                after, posted = act()
                if after != members[place] or posted:
                    steps.append((action, after, posted, self._left(spent)))
            self._own[key] = steps
        return steps

    def _evidence(self, number: StateId, place: Place, gone: tuple[Place, ...], left: Left) -> Iterator[Choice]:
        """That others are gone: true, or false as far as the bounds allow."""
        if self.members.states[number].machine is None:
            return
        for whom in range(3):
            if whom in gone:
                yield Action("refused", place, whom), partial(self.members.refused, number, whom), left
            elif (place, whom) in left.pairs:
                yield (
                    Action("suspect", place, whom),
                    partial(self.members.refused, number, whom),
                    doubt(left, place, whom),
                )

    def _choices(self, number: StateId, place: Place, left: Left) -> Iterator[Choice]:
        """What member `place` can do by itself, or its process can suffer."""
        state, members = self.members.states[number], self.members
        if state.machine is None:
            if left.restarts:
                spent = left._replace(restarts=left.restarts - 1)
                yield Action("restart", place), partial(members.restart, number), spent
            return
        if state.unsent and state.parting is None:
            yield Action("send", place), partial(members.send, number), left
        if state.waiting:
            yield Action("release", place), partial(members.release, number), left
        if left.crashes and place in self.scenario.victims:
            yield Action("crash", place), partial(members.crash, number), left._replace(crashes=left.crashes - 1)
        if left.ticks and place in self.scenario.tickers:
            yield Action("tick", place), partial(members.tick, number), left._replace(ticks=left.ticks - 1)

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
                    link = LINK_OF[place, to]
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
