"""The search for a linearization of one part of a history.

Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for linearizability" (2017),
whose memoized just-in-time search this is.  In short: go through the returns in order.  At a return whose operation has
not taken effect yet, some open operations, and last the returning one, must take effect now; no operation ever needs to
take effect earlier than that.  A *configuration* is what is true at a return: which of the open operations have taken
effect, which of the pending ones, and the state.  Configurations that were seen before are not entered again.

Where we go beyond the paper:

1. A read that fits the state takes effect at once.  It leaves the state alone, so nothing that was possible is lost.
   Only operations that change the state are ever branched on.
2. Of open operations that do the same, the one that returns first takes effect first, and a pending one only when none
   of them is left: exchanging two that took effect in another order leaves a linearization.
3. Pending operations (those that may or may not happen, at any later time) are branched on, but
   - equal ones are interchangeable, so they are used in the order of their invocations;
   - one that changes nothing, or nothing that can be observed any more, is never used;
   - a configuration is not entered if the same one with fewer pending operations used up was seen: whatever the former
     can do, the latter can.  Sequences are tried shortest first, so that these come early.
4. The model's `Outlook` merges the states that no remaining operation can tell apart, cuts off those that a remaining
   operation is sure to refuse, and knows of some changes the only state in which they can take place.  While nobody can
   see the state, open changes that nobody will see either take effect at once: wherever else they stood in an order,
   they could be taken out of it (`Outlook.useful`).

Completed operations are numbered by the rank of their return; a set of open ones is a bit mask relative to the current
rank, so it stays as short as the concurrency is high.  Pending operations come after, with a mask of their own.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from phalanx.check.models import Model, State
from phalanx.check.outlook import FOREVER, Outlook, Timed
from phalanx.check.values import UNSEEN

A = TypeVar("A", bound=Hashable)


class Answer(StrEnum):
    """What a search found."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNKNOWN = "unknown"
    """The budget was used up before the search was over."""


class Searched(NamedTuple):
    """The result of one search."""

    answer: Answer
    explored: int
    """Configurations entered."""
    deepest: int
    """Everything before the return of this rank can be ordered.  (Without foresight and if the answer is a violation,
    no more than that; with it, the search also gives up for what comes later.)"""
    states: frozenset[State]
    """States in which the operation of that rank was found unable to take effect."""


class _Configuration(NamedTuple):
    done: int
    """Bit i: the completed operation of rank `position + i` has taken effect."""
    used: int
    """Bit i: the i-th pending operation has taken effect."""
    state: State


class _Frame(NamedTuple):
    """The configurations of one position that are not dealt with yet."""

    position: int
    untried: deque[_Configuration]
    """The returning operation has not been tried in these."""
    tried: deque[_Configuration]
    """It has; other operations have not."""


class Search(Generic[A]):
    """One search over `completed` (in the order of their returns) and `pending` (in the order of their invocations)."""

    def __init__(
        self,
        model: Model[A],
        initial: State,
        completed: Sequence[Timed[A]],
        pending: Sequence[Timed[A]],
        outlook: Outlook[A] | None = None,
    ) -> None:
        self._model = model
        self._initial = initial
        self._completed = completed
        self._outlook = model.outlook([*completed, *pending], initial) if outlook is None else outlook
        self._pending = pending
        self._actions = [step.action for step in completed]
        self._open_reads: list[list[int]] = [[] for _ in completed]
        self._open_changes: list[list[int]] = [[] for _ in completed]
        for rank, step in enumerate(completed):
            lists = self._open_reads if model.reads_only(step.action) else self._open_changes
            for position in range(step.opened, rank + 1):
                lists[position].append(rank)
        self._available = [0] * len(completed)
        for index, step in enumerate(pending):
            for position in range(step.opened, len(completed)):
                self._available[position] |= 1 << index
        alike: defaultdict[A, int] = defaultdict(int)
        for index, step in enumerate(pending):
            alike[step.action] |= 1 << index
        self._alike = list(alike.items())
        self._useful: dict[int, list[tuple[A, int]]] = {}
        self._seen: list[dict[tuple[int, State], list[int]]] = [{} for _ in completed]
        self._frames: list[_Frame] = []
        self._explored = 0
        self._deepest = 0
        self._stuck: set[State] = set()

    def run(self, budget: int) -> Searched:
        """Search until there is an answer or `budget` configurations have been entered."""
        if self._advance(0, _Configuration(0, 0, self._initial)):
            return self._result(Answer.LINEARIZABLE)
        while self._frames:
            if self._explored > budget:
                return self._result(Answer.UNKNOWN)
            frame = self._frames[-1]
            if (reached := self._next(frame)) is None:
                self._frames.pop()
            elif self._advance(frame.position, reached):
                return self._result(Answer.LINEARIZABLE)
        return self._result(Answer.VIOLATION)

    def _result(self, answer: Answer) -> Searched:
        return Searched(answer, self._explored, self._deepest, frozenset(self._stuck))

    def _advance(self, position: int, configuration: _Configuration) -> bool:
        """Go on to the next return whose operation has yet to take effect; True if there is none."""
        done, used, state = configuration
        end = len(self._completed)
        while position < end:
            state = self._outlook.settle(state, position)
            done = self._absorb(position, done, state)
            if not done & 1:
                break
            done >>= 1
            position += 1
        else:
            return True
        if self._is_new(position, done, used, state):
            self._frames.append(_Frame(position, deque([_Configuration(done, used, state)]), deque()))
        return False

    def _absorb(self, position: int, done: int, state: State) -> int:
        """Let take effect what loses nothing: reads that fit, and changes that nobody sees to what nobody sees."""
        step = self._model.step
        for rank in self._open_reads[position]:
            bit = 1 << rank - position
            if not done & bit and step(state, self._actions[rank]) is not None:
                done |= bit
        if state is UNSEEN:
            for rank in self._open_changes[position]:
                action = self._actions[rank]
                if not self._outlook.useful(action, position) and step(state, action) is not None:
                    done |= 1 << rank - position
        return done

    def _is_new(self, position: int, done: int, used: int, state: State) -> bool:
        seen = self._seen[position].setdefault((done, state), [])
        if any(fewer & ~used == 0 for fewer in seen):
            return False
        seen.append(used)
        self._explored += 1
        if position > self._deepest:
            self._deepest = position
            self._stuck.clear()
        return True

    def _next(self, frame: _Frame) -> _Configuration | None:
        """The next configuration in which the returning operation has taken effect, after the shortest sequences of
        others first."""
        position, untried, tried = frame
        returning = self._actions[position]
        while untried or tried:
            if not untried:
                self._expand(position, tried.popleft(), untried)
                continue
            configuration = untried.popleft()
            tried.append(configuration)
            done, used, state = configuration
            if done & 1:  # a read that took effect as soon as another operation had
                tried.pop()
                return configuration
            after = self._model.step(state, returning) if self._outlook.allows(returning, state) else None
            if after is not None:
                after = self._outlook.settle(after, position)
                if not self._is_lost(position, _Configuration(done | 1, used, after), state):
                    return _Configuration(done | 1, used, after)
            elif position == self._deepest:
                self._stuck.add(state)
        return None

    def _expand(self, position: int, configuration: _Configuration, into: deque[_Configuration]) -> None:
        """Let one other operation take effect, each in turn."""
        done, used, state = configuration
        step, settle = self._model.step, self._outlook.settle
        allows = self._outlook.allows
        tried: set[A] = set()
        for rank in self._open_changes[position]:
            bit, action = 1 << rank - position, self._actions[rank]
            if done & bit or action in tried:
                continue
            tried.add(action)
            if rank != position and allows(action, state) and (after := step(state, action)) is not None:
                self._enter(position, _Configuration(done | bit, used, settle(after, position)), state, into)
        available = self._available[position] & ~used
        for action, alike in self._useful_at(position):
            if action in tried or not allows(action, state):
                continue
            if (free := alike & available) and (after := step(state, action)) is not None and after != state:
                self._enter(position, _Configuration(done, used | free & -free, settle(after, position)), state, into)

    def _enter(self, position: int, reached: _Configuration, before: State, into: deque[_Configuration]) -> None:
        done = self._absorb(position, reached.done, reached.state)
        reached = reached._replace(done=done)
        if not self._is_lost(position, reached, before) and self._is_new(position, *reached):
            into.append(reached)

    def _is_lost(self, position: int, reached: _Configuration, before: State) -> bool:
        """Whether an operation to come needs a state that no remaining operation can bring about."""
        rescuers = self._outlook.rescuers(before, reached.state, position, reached.done)
        if rescuers is None:
            return False
        end = len(self._completed)
        for index in rescuers:
            if index >= end:
                remains = not reached.used >> index - end & 1
            elif index < position:
                break  # they come in the order of their returns, latest first
            else:
                remains = not reached.done >> index - position & 1
            if remains:
                return False
        return True

    def _useful_at(self, position: int) -> list[tuple[A, int]]:
        if (useful := self._useful.get(position)) is None:
            useful = [each for each in self._alike if self._outlook.useful(each[0], position)]
            self._useful[position] = useful
        return useful


def timed(action: A, opened: int, rank: int | None) -> Timed[A]:
    """A step of a search; `rank` None for a pending one."""
    return Timed(action, opened, FOREVER if rank is None else rank)
