"""Judging client histories: is there an order of the operations that explains everything that clients saw?

Source: Herlihy and Wing, "Linearizability" (1990); Horn and Kroening, "Faster linearizability checking via
P-compositionality" (2015).  A history is cut into parts that share no key; each is searched on its own.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.check.models import MalformedOperation, Model, State
from phalanx.check.outlook import Outlook
from phalanx.check.search import Answer, Search, Searched, timed
from phalanx.check.values import show
from phalanx.model.history import Operation, Outcome

DEFAULT_BUDGET = 2_000_000
"""Configurations that one check may enter, thousands of times what a history with a moderate number of concurrent writes
needs.  Where states are small values this takes about half a minute and 1 GB at the worst; the texts of the kv model are
kept and compared as a whole, so long ones can take ten times as long, and memory in proportion to their length."""


class Part(NamedTuple):
    """Operations that share no key with the rest of their history."""

    keys: frozenset[Hashable]
    initial: State
    operations: tuple[Operation, ...]


def returns(operation: Operation) -> bool:
    """Whether the operation had an end: one that has none may take effect at any later time, or never."""
    return operation.completed is not None and operation.outcome is not Outcome.INFO


def as_pending(operation: Operation) -> Operation:
    """The operation as it looks to who has not seen its end."""
    return operation._replace(outcome=Outcome.INFO, completed=None, result=None)


def partition(operations: Iterable[Operation], model: Model[Any]) -> list[Part]:
    """The parts of a history, in the order of their first operations.  Operations that neither demand nor do anything
    are left out.  Raises MalformedOperation."""
    effective: list[tuple[Operation, tuple[Hashable, ...]]] = []
    leader: dict[Hashable, Hashable] = {}

    def find(key: Hashable) -> Hashable:
        while (above := leader.setdefault(key, key)) != key:
            leader[key] = leader[above]
            key = leader[key]
        return key

    for operation in operations:
        if returns(operation) and operation.completed is not None and operation.completed < operation.invoked:
            raise MalformedOperation(f"{show(operation.f)} of process {operation.process} ends before it begins")
        endless = operation.outcome is Outcome.OK and not returns(operation)
        judged = as_pending(operation) if endless else operation
        if model.action(judged) is None:
            continue
        keys = tuple(model.keys(operation))
        effective.append((judged, keys))
        for key in keys[1:]:
            leader[find(key)] = find(keys[0])
    members: dict[Hashable, tuple[set[Hashable], list[Operation]]] = {}
    for operation, keys in effective:
        touched, together = members.setdefault(find(keys[0]), (set(), []))
        touched.update(keys)
        together.append(operation)
    return [
        Part(frozenset(touched), model.initial(frozenset(touched)), tuple(together))
        for touched, together in members.values()
    ]


class Arranged(NamedTuple):
    """The operations of a part as the search wants them: `completed` by their ends, `pending` by their beginnings."""

    completed: list[Operation]
    completed_opened: list[int]
    pending: list[Operation]
    pending_opened: list[int]


def arrange(operations: Sequence[Operation]) -> Arranged:
    """Order the events; of those at the same time, beginnings come first (the operations are then concurrent)."""
    events: list[tuple[int, bool, int]] = []
    for index, operation in enumerate(operations):
        events.append((operation.invoked, False, index))
        if returns(operation):
            assert operation.completed is not None
            events.append((operation.completed, True, index))
    arranged = Arranged([], [], [], [])
    opened: dict[int, int] = {}
    for _, is_return, index in sorted(events):
        operation = operations[index]
        if is_return:
            arranged.completed.append(operation)
            arranged.completed_opened.append(opened[index])
        elif returns(operation):
            opened[index] = len(arranged.completed)
        else:
            arranged.pending.append(operation)
            arranged.pending_opened.append(len(arranged.completed))
    return arranged


def search_part(part: Part, model: Model[Any], budget: int, foresight: bool = True) -> Searched:
    """Search one part.  Without foresight the states in the result are what they are, and the search is slower."""
    arranged = arrange(part.operations)
    completed = [
        timed(model.action(operation), opened, rank)
        for rank, (operation, opened) in enumerate(zip(arranged.completed, arranged.completed_opened, strict=True))
    ]
    pending = [
        timed(model.action(operation), opened, None)
        for operation, opened in zip(arranged.pending, arranged.pending_opened, strict=True)
    ]
    if foresight:
        pending = _observable(model, part.initial, completed, pending)
    return Search(model, part.initial, completed, pending, None if foresight else Outlook()).run(budget)


def _observable(model: Model[Any], initial: State, completed: list[Any], pending: list[Any]) -> list[Any]:
    """The pending operations without those whose effect nobody can have seen; `Outlook.useful` says why they can go.
    Pending ones also count as observers, so those that are left are looked at again."""
    while True:
        outlook = model.outlook([*completed, *pending], initial)
        useful = [step for step in pending if outlook.useful(step.action, 0)]
        if len(useful) == len(pending):
            return useful
        pending = useful


def without_unobservable(part: Part, model: Model[Any]) -> Part:
    """The part without the pending operations that nothing else in it can have seen."""
    arranged = arrange(part.operations)
    completed = [timed(model.action(operation), 0, 0) for operation in arranged.completed]
    pending = [timed(model.action(operation), 0, None) for operation in arranged.pending]
    kept = {step.action for step in _observable(model, part.initial, completed, pending)}
    return part._replace(
        operations=tuple(each for each in part.operations if returns(each) or model.action(each) in kept)
    )


class Failure(NamedTuple):
    """A part that is not linearizable, and how far the search came."""

    part: Part
    searched: Searched


class Judgement(NamedTuple):
    """The answers for all parts of a history."""

    answer: Answer
    operations: int
    """Operations in the history, with those that demand and do nothing."""
    parts: int
    explored: int
    failures: tuple[Failure, ...]


def judge(operations: Iterable[Operation], model: Model[Any], budget: int = DEFAULT_BUDGET) -> Judgement:
    """Search every part within a common budget; a violation in one part outweighs an unknown in another.

    Raises MalformedOperation."""
    everything = tuple(operations)
    parts = partition(everything, model)
    explored, unknown, failures = 0, False, []
    for part in parts:
        searched = search_part(part, model, budget - explored)
        explored += searched.explored
        unknown |= searched.answer is Answer.UNKNOWN
        if searched.answer is Answer.VIOLATION:
            failures.append(Failure(part, searched))
    answer = Answer.VIOLATION if failures else Answer.UNKNOWN if unknown else Answer.LINEARIZABLE
    return Judgement(answer, len(everything), len(parts), explored, tuple(failures))
