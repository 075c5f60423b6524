"""Why a history is not linearizable, in as few operations as possible.

A failing part is made smaller by steps that can only make it easier to linearize.  So what is left, if it still cannot
be ordered, proves that the history cannot be either; and no operation that something else depends on is missing:

1. *Cut the end.*  Keep what began before the first return that cannot be included (found by bisection); what returned
   later is pending.
2. *Cut the beginning.*  Some operations alone tell the state that they leave behind (a write, and a read too).  Start
   from that state right after such an operation, the *anchor*.  Whatever returned before the anchor began precedes it
   in every order; what overlaps it may come before or after, so changes become pending and observations are dropped;
   what began after it stays.  If the part was linearizable, so is this: take the end of its order, from the anchor on.
3. *Drop observations, and forget returns* of changes, first many at a time, then one by one.  A change that is pending
   and that nobody can have seen is dropped as well (see `Outlook.useful`).  What somebody saw is never dropped.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from phalanx.check.linearizability import (
    Failure,
    Part,
    arrange,
    as_pending,
    returns,
    search_part,
    without_unobservable,
)
from phalanx.check.models import Model, State
from phalanx.check.search import Answer
from phalanx.check.values import NULL, show
from phalanx.model.history import Operation

SHRINK_BUDGET = 300_000
"""What all attempts to shrink one part may cost together, in configurations entered and operations looked at; then the
explanation stays as it is."""

ATTEMPT_BUDGET = 50_000
"""Configurations that one attempt may enter: a smaller part that is this hard to judge is not easier to understand."""

ANCHORS_MAX = 200
"""Anchors that are tried, from the latest back; violations are rarely about the distant past."""


class Explanation(NamedTuple):
    """The smallest part found that no order explains.  Made of operations of the history; `forgotten` says where their
    returns do not matter."""

    keys: tuple[Any, ...]
    anchor: Operation | None
    """The operation that `start` is taken from; None if it is the initial state."""
    start: State
    operations: tuple[Operation, ...]
    """In the order of their beginnings, as they were recorded."""
    forgotten: frozenset[int]
    """Indices of operations that cannot be ordered even if they may take effect at any later time, or never."""
    blocked: int
    """Index of an operation: with its return the order breaks down; without it there is an order."""
    states: tuple[State, ...]
    """The states that are possible when that one must take effect, and in which it cannot."""

    @property
    def subject(self) -> str:
        """What the part is about: its keys, for a reader."""
        return "key " + ", ".join(map(show, self.keys)) if self.keys != (NULL,) else "the only key"


class _Candidate(NamedTuple):
    """A part while it shrinks, and the anchor that it starts from."""

    part: Part
    anchor: Operation | None

    def keep(self, operations: Iterable[Operation | None]) -> "_Candidate":
        return self._replace(part=self.part._replace(operations=tuple(each for each in operations if each)))


class _Judge:
    """Answers "does it still fail?" until the budget is used up, then "no"."""

    def __init__(self, model: Model[Any]) -> None:
        self._model = model
        self._left = SHRINK_BUDGET

    def fails(self, candidate: _Candidate) -> bool:
        if self._left <= 0:
            return False
        searched = search_part(candidate.part, self._model, min(ATTEMPT_BUDGET, self._left))
        self._left -= searched.explored + 2 * len(candidate.part.operations)
        return searched.answer is Answer.VIOLATION


def explain(failure: Failure, model: Model[Any]) -> Explanation:
    """Shrink a failing part.  What it costs is bounded; what it returns fails in any case."""
    judge = _Judge(model)
    candidate = _without_end(failure, model, judge.fails)
    candidate = _without_beginning(candidate, model, judge.fails)
    candidate = _weakened(candidate, model, judge.fails)
    return _explanation(candidate, failure.part, model)


def _forget(operation: Operation, model: Model[Any]) -> Operation | None:
    """Weaken an operation: nothing is left of an observation, and a change may happen at any later time, or never."""
    if model.reads_only(model.action(operation)):
        return None
    pending = as_pending(operation)
    return pending if model.action(pending) is not None else None


def _end(operation: Operation) -> int:
    assert operation.completed is not None
    return operation.completed


def _without_end(failure: Failure, model: Model[Any], fails: Callable[[_Candidate], bool]) -> _Candidate:
    completed = arrange(failure.part.operations).completed
    lowest, highest = failure.searched.deepest, len(completed) - 1
    while lowest < highest:
        middle = (lowest + highest) // 2
        if fails(_until(_end(completed[middle]), failure.part, model)):
            highest = middle
        else:
            lowest = middle + 1
    return _until(_end(completed[highest]), failure.part, model)


def _until(last: int, part: Part, model: Model[Any]) -> _Candidate:
    return _Candidate(part, None).keep(
        _forget(operation, model) if returns(operation) and _end(operation) > last else operation
        for operation in part.operations
        if operation.invoked <= last
    )


def _without_beginning(candidate: _Candidate, model: Model[Any], fails: Callable[[_Candidate], bool]) -> _Candidate:
    completed = arrange(candidate.part.operations).completed
    for anchor in reversed(completed[-ANCHORS_MAX - 1 : -1]):
        state = model.pinned(model.action(anchor), candidate.part.keys)
        if state is not None and fails(after := _after(candidate, anchor, state, model)):
            return after
    return candidate


def _after(candidate: _Candidate, anchor: Operation, state: State, model: Model[Any]) -> _Candidate:
    started = _Candidate(candidate.part._replace(initial=state), anchor)
    return started.keep(
        _forget(operation, model) if returns(operation) and operation.invoked <= _end(anchor) else operation
        for operation in candidate.part.operations
        if operation is not anchor and not (returns(operation) and _end(operation) < anchor.invoked)
    )


def _tidy(candidate: _Candidate, model: Model[Any]) -> _Candidate:
    return candidate._replace(part=without_unobservable(candidate.part, model))


def _weakened(candidate: _Candidate, model: Model[Any], fails: Callable[[_Candidate], bool]) -> _Candidate:
    candidate = _tidy(candidate, model)
    size = len(candidate.part.operations)
    while size >= 1:
        weaker = next((each for each in _weaker(candidate, size, model) if fails(each)), None)
        if weaker is not None:
            candidate = weaker
        else:
            size //= 2
    return candidate


def _weaker(candidate: _Candidate, size: int, model: Model[Any]) -> Iterator[_Candidate]:
    """Forget the returns of each run of `size` operations that have one."""
    operations = candidate.part.operations
    ended = [index for index, operation in enumerate(operations) if returns(operation)]
    for first in range(0, len(ended), size):
        run = frozenset(ended[first : first + size])
        kept = (_forget(each, model) if index in run else each for index, each in enumerate(operations))
        yield _tidy(candidate.keep(kept), model)


def _explanation(candidate: _Candidate, whole: Part, model: Model[Any]) -> Explanation:
    part = candidate.part
    searched = search_part(part, model, ATTEMPT_BUDGET, foresight=False)
    states = searched.states
    if searched.answer is not Answer.VIOLATION:  # too large to be searched without foresight
        searched, states = search_part(part, model, SHRINK_BUDGET), frozenset()
    recorded = {(each.process, each.invoked): each for each in whole.operations}
    kept = sorted(part.operations, key=lambda each: each.invoked)
    originals = tuple(recorded[each.process, each.invoked] for each in kept)
    pairs = enumerate(zip(kept, originals, strict=True))
    blocked = arrange(part.operations).completed[searched.deepest]
    return Explanation(
        keys=tuple(sorted(part.keys, key=show)),
        anchor=candidate.anchor,
        start=part.initial,
        operations=originals,
        forgotten=frozenset(index for index, (seen, original) in pairs if returns(original) and not returns(seen)),
        blocked=kept.index(blocked),
        states=tuple(sorted(states, key=show)),
    )
