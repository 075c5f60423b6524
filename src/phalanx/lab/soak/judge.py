"""Was anybody cheated?  A round of the soak, held against the store's own history.

The history says in which order writes took effect, so it is the order that linearizability asks for (Herlihy and Wing,
1990), and no search for one is needed: what is left is to see that every call was answered as the store was at some
revision, that no call which began after another had ended took effect before it, and that what was acknowledged is
there once, what was refused not at all.  A read is put at the least revision that explains it; that is the best place for
it, since only calls that come later are held to it.  Of several deletions that could be a call's it is put at the first.

That judgement trusts the history.  The calls on single keys are therefore judged once more without it, by
`check_linearizable`; and what all replicas hold in the end must be equal, and follow from the history.
"""

from collections.abc import Iterator
from typing import NamedTuple

from phalanx.check import Answer, KvCas, check_linearizable, describe
from phalanx.lab.soak.answers import Answers, Wrong
from phalanx.lab.soak.leases import Leases
from phalanx.lab.soak.projection import operations
from phalanx.lab.soak.records import Call, Replica, Round, Watched, tag_of
from phalanx.lab.soak.timeline import Timeline, inside
from phalanx.model.history import Outcome
from phalanx.services.store.values import Delete, DeleteRange, Event

SHOWN_MAX = 2_000
"""Characters of one violation: a transaction and its answer fit."""


class Violation(NamedTuple):
    """Something that must not be."""

    kind: str
    """`lost` is a write that was acknowledged and is not there."""
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text[:SHOWN_MAX]}"


def judge(round_: Round) -> list[Violation]:
    """Everything that is wrong with a round."""
    timeline = Timeline(round_.initial, round_.base, round_.log)
    found = [Violation("log", flaw) for flaw in timeline.flaws()]
    found += _replicas(round_.replicas, timeline)
    writes = Writes(timeline)
    found += writes.judge(round_.calls)
    sweep = Sweep(timeline, writes)
    found += sweep.judge(round_.calls)
    found += (Violation("lease", text) for text in Leases(round_, sweep.known).flaws())
    for watched in round_.watched:
        found += _watch(watched, timeline, sweep)
    found += _stale(round_.calls, timeline)
    return found + _linearizable(round_, timeline)


def _replicas(replicas: list[Replica], timeline: Timeline) -> Iterator[Violation]:
    first = replicas[0]
    for other in replicas:
        if other.items != timeline.final():
            differing = set(other.items) ^ set(timeline.final())
            yield Violation("replicas", f"{other.node} holds what does not follow from the history: {differing}")
        if other.log != first.log:
            yield Violation("replicas", f"{other.node} and {first.node} have different histories")
        if other.leases != first.leases:
            yield Violation("replicas", f"{other.node} has leases {other.leases}, {first.node} {first.leases}")


class Writes:
    """Which revision is whose."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._found: dict[bytes, dict[int, dict[bytes, bytes]]] = {}
        for revision, events in timeline.changes.items():
            for event in events:
                if event.item is not None:
                    per = self._found.setdefault(tag_of(event.item.value), {}).setdefault(revision, {})
                    per[event.key] = event.item.value

    def revision(self, call: Call) -> int | None:
        """At which the call's values were written; None: nowhere."""
        tag = call.tag
        return None if tag is None else min(self._found.get(tag, {}), default=None)

    def judge(self, calls: list[Call]) -> Iterator[Violation]:
        """Everything acknowledged is there, nothing refused is, nothing twice or in part, and all of it is somebody's."""
        owners = {tag: call for call in calls if (tag := call.tag) is not None}
        for tag, call in owners.items():
            places = self._found.get(tag, {})
            if not places:
                if call.outcome is Outcome.OK and not declined(call):
                    yield Violation("lost", f"{call} was acknowledged and is not in the history")
            elif call.outcome is Outcome.FAIL or declined(call):
                yield Violation("phantom", f"{call} did not happen, and is in the history at {sorted(places)}")
            elif len(places) > 1:
                yield Violation("doubled", f"{call} happened at {sorted(places)}")
            elif not _is_whole(call, *next(iter(places.items()))):
                yield Violation("torn", f"of {call} only {places} happened")
        for tag, places in self._found.items():
            if tag not in owners:
                yield Violation("unknown", f"nobody wrote {places}")
        deleters = [call for call in calls if call.outcome is not Outcome.FAIL]
        for events in self._timeline.changes.values():
            for event in events:
                leased = event.previous is not None and event.previous.lease
                if event.item is None and not leased and not any(deletes(call, event) for call in deleters):
                    yield Violation("unknown", f"nobody deleted {event}")


def _is_whole(call: Call, revision: int, written: dict[bytes, bytes]) -> bool:
    """Whether all that the call may have written there was."""
    return written in list(call.alternatives(revision))


def declined(call: Call) -> bool:
    """Whether the call was answered, and the answer was that it did nothing."""
    return call.f == "compare_and_set" and call.outcome is Outcome.OK and call.result is False


def deletes(call: Call, event: Event) -> bool:
    """Whether the call is one that can have made that deletion."""
    match call.f, call.arguments:
        case "delete", (bytes(key),):
            return key == event.key
        case "compare_and_set", (bytes(key), _, None):
            return key == event.key
        case "delete_range", (bytes(start), end):
            return inside(event.key, start, end)
        case "transact", (_, then, otherwise):
            return any(
                (isinstance(each, Delete) and each.key == event.key)
                or (isinstance(each, DeleteRange) and inside(event.key, each.start, each.end))
                for each in (*then, *otherwise)
            )
    return False


class Known(NamedTuple):
    """From that moment on everybody could know that the store had come that far."""

    at: int
    revision: int


class Sweep:
    """Goes through the beginnings and ends of all calls in their order."""

    def __init__(self, timeline: Timeline, writes: Writes) -> None:
        self._timeline = timeline
        self._writes = writes
        self._answers = Answers(timeline)
        self.known: list[Known] = [Known(0, timeline.base)]
        """What calls that had ended proved; both numbers grow."""

    def floor(self, at: int) -> int:
        """The least revision that the store must have had at that moment, as its clients knew."""
        low, high = 0, len(self.known)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.known[middle].at < at else (low, middle)
        return self.known[low].revision

    def judge(self, calls: list[Call]) -> Iterator[Violation]:
        """What was answered wrongly, or took effect before a call that had ended."""
        answered = [call for call in calls if call.completed is not None and call.outcome is Outcome.OK]
        token = 0
        grants: list[tuple[int, int]] = []
        for call in sorted(answered, key=lambda call: call.completed or 0):
            assert call.completed is not None
            if call.f.startswith("stale "):
                continue
            floor = self.floor(call.invoked)
            try:
                revision = self._answers.place(call, floor, self._writes.revision(call))
            except Wrong as wrong:
                yield Violation("answer", f"{call}, begun when the store was at {floor} or later: {wrong}")
                continue
            if revision > self.known[-1].revision:
                self.known.append(Known(call.completed, revision))
            if call.f == "grant":
                earlier = max((id_ for at, id_ in grants if at < call.invoked), default=0)
                token = max(token, earlier)
                if call.result.id <= earlier:
                    yield Violation("token", f"{call} got a lease that is not younger than {earlier}")
                grants.append((call.completed, call.result.id))


def _watch(watched: Watched, timeline: Timeline, sweep: Sweep) -> Iterator[Violation]:
    """It was told exactly what the history has, from where it began to where it ended."""
    if watched.error:
        yield Violation("watch", f"{_head(watched)} ended: {watched.error}")
    if watched.begun < 0:
        if watched.told or watched.upto >= 0:
            yield Violation("watch", f"{_head(watched)} never began, and was told {watched.told}")
        return
    begun = watched.begun if watched.after is None else watched.after
    if watched.after is None:
        if watched.told:  # who asks hears where it began, or further
            begun = min(begun, watched.told[0].event.revision - 1)
        if begun < (floor := sweep.floor(watched.asked)):
            yield Violation("watch", f"{_head(watched)} began after {begun}, when {floor} had been acknowledged")
    expected = [
        event if watched.previous else Event(event.key, event.revision, event.index, event.time_ms, event.item, None)
        for event in (e for events in timeline.changes.values() for e in events)
        if event.revision > begun
        and inside(event.key, watched.start, watched.end)
        and (watched.deletes if event.item is None else watched.puts)
    ]
    told = [each.event for each in watched.told]
    owed = sum(event.revision <= watched.upto for event in expected)
    if told != expected[: len(told)] or len(told) < owed:
        at = next((n for n, pair in enumerate(zip(told, expected, strict=False)) if pair[0] != pair[1]), len(told))
        yield Violation(
            "watch",
            f"{_head(watched)} was told {len(told)} changes; "
            f"number {at} is {told[at : at + 1]} and should be {expected[at : at + 1]}",
        )


def _head(watched: Watched) -> str:
    return (
        f"the watch of {watched.client} over {watched.start!r} to {watched.end!r}, after {watched.after}, "
        f"begun {watched.begun}, up to {watched.upto},"
    )


def _stale(calls: list[Call], timeline: Timeline) -> Iterator[Violation]:
    """A stale read tells what was once so, and one client at one node sees time go forward."""
    answers = Answers(timeline)
    seen: dict[str, int] = {}
    for call in calls:  # of one client: one after the other
        if call.f.startswith("stale ") and call.outcome is Outcome.OK:
            before = seen.get(call.client, timeline.base)
            try:
                seen[call.client] = answers.place(call, before, None)
            except Wrong as wrong:
                yield Violation("stale", f"{call}, after one that saw revision {before}: {wrong}")


def _linearizable(round_: Round, timeline: Timeline) -> list[Violation]:
    verdict = check_linearizable(operations(round_.calls, timeline), KvCas())
    if verdict.answer is not Answer.VIOLATION:
        return []
    shown = "\n".join(describe(verdict.explanation)) if verdict.explanation is not None else str(verdict)
    return [Violation("linearizability", shown)]
