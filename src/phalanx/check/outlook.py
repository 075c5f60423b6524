"""Foresight: what the operations still to come can tell about a state.

The search of `phalanx.check.search` is exponential only where it keeps apart configurations that no remaining operation
can tell apart, or follows one that a remaining operation is bound to refuse.  An outlook knows all operations of one
part of a history in advance and answers four questions about it.  Every answer may err on the side of caution, never
on the other; each method states why it is sound.

Positions are ranks of returns: position p is the return of the p-th completed operation.  At position p the operations
0..p-1 have taken effect, so whoever can still observe something is one with a rank of p or more, or a pending one.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

from phalanx.check.actions import Append, Cas, Differs, Read, Transaction, Write
from phalanx.check.values import UNSEEN

A = TypeVar("A", bound=Hashable)

FOREVER = 1 << 62
"""The rank of an operation that has no return."""

READS_AHEAD = 16
"""Reads of a text that are looked at in advance, each time it changes: about as many as there are clients."""


class Timed(NamedTuple, Generic[A]):
    """An action with its place in the history: open at the positions from `opened` to `rank`, both included."""

    action: A
    opened: int
    rank: int


class Outlook(Generic[A]):
    """No foresight at all: the base of the others, and what a model without a theory of its own gets."""

    def settle(self, state: Hashable, position: int) -> Hashable:
        """The state with whatever no remaining operation can observe replaced by `UNSEEN`.

        Sound if all states that are settled alike have the same future: the same remaining sequences are possible."""
        del position
        return state

    def useful(self, action: A, position: int) -> bool:
        """Whether the change that an action makes could be observed at `position` or later.

        Sound if a change that is not useful can be taken out of any linearization: what stood between it and the next
        overwriting of its effect cannot have depended on it."""
        del action, position
        return True

    def allows(self, action: A, state: Hashable) -> bool:
        """Whether the action may take effect in that state.

        Sound if it takes effect in no other state in any linearization."""
        del action, state
        return True

    def rescuers(self, old: Hashable, new: Hashable, position: int, done: int) -> Sequence[int] | None:
        """Operations (their indices, latest return first) of which at least one must still be to come now that the
        state has gone from `old` to `new`, since an operation that has not taken effect demands it; None if nothing is
        missing.  Bit i of `done`: the completed operation of rank `position + i` has taken effect."""
        del old, new, position, done
        return None


class CellOutlook(Outlook[Write | Read | Cas | Differs]):
    """For a state that is one value, observed only as a whole.

    A value is *seen* at p if a remaining read or compare-and-set expects it.  In a value that is not seen, every
    remaining conditional action is refused and every write leads to the same state, so all unseen values have the
    same future.  (`Differs` is the exception, as it accepts unseen values: nothing is settled while one remains.)

    A pending write or compare-and-set whose new value is not seen can only be followed by a write, or by nothing:
    taken out, it leaves a linearization.
    """

    def __init__(self, steps: Sequence[Timed[Write | Read | Cas | Differs]]) -> None:
        self._seen_until: dict[Hashable, int] = {}
        self._differs_until = -1
        self._demanded_until: dict[Hashable, int] = {}
        self._makers: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index, (action, opened, rank) in enumerate(steps):
            match action:
                case Read(value) | Cas(value, _):
                    self._seen_until[value] = max(rank, self._seen_until.get(value, -1))
                    if rank != FOREVER:
                        self._demanded_until[value] = max(opened, self._demanded_until.get(value, -1))
                case Differs():
                    self._differs_until = max(rank, self._differs_until)
            match action:
                case Write(value) | Cas(_, value):
                    self._makers[value].append(index)
        for makers in self._makers.values():
            makers.sort(key=lambda index: -steps[index].rank)

    def settle(self, state: Hashable, position: int) -> Hashable:
        if self._seen_until.get(state, -1) >= position or self._differs_until >= position:
            return state
        return UNSEEN

    def useful(self, action: Write | Read | Cas | Differs, position: int) -> bool:
        match action:
            case Write(value) | Cas(_, value):
                return self.settle(value, position) is not UNSEEN
        return False

    def rescuers(self, old: Hashable, new: Hashable, position: int, done: int) -> Sequence[int] | None:
        """The value that was overwritten, if an operation that begins later expects it, must be made again."""
        del done
        if old != new and self._demanded_until.get(old, -1) > position:
            return self._makers.get(old, ())
        return None


class TextOutlook(Outlook[Write | Read | Append]):
    """For a text that is read as a whole and grows at its end, between writes that replace it.

    A text is *seen* at p if it begins the result of a remaining read.  One that is not seen will not be after any
    number of appends either, so until the next write nothing can be read, and after it nothing is left of it.

    A pending append of a text that no result contains can be taken out: until the next write the state contains it,
    so no read stands there.

    What is appended mostly names itself: if a result can be put together of the texts of this part in one way only, an
    append that is in it, and whose text no other operation appends, took effect when the state was what comes before it.
    """

    def __init__(self, steps: Sequence[Timed[Write | Read | Append]], initial: Hashable = "") -> None:
        latest: dict[str, int] = {}
        reads: list[tuple[int, str]] = []
        for action, _, rank in steps:
            if isinstance(action, Read):
                text = str(action.value)
                latest[text] = max(rank, latest.get(text, -1))
                if rank != FOREVER:
                    reads.append((rank, text))
        self._texts = sorted(latest)
        self._ranks = [latest[text] for text in self._texts]
        longest = [text for text, after in pairwise([*self._texts, ""]) if not after.startswith(text)]
        self._contents = "\0".join(longest)
        self._contained: dict[str, bool] = {}
        self._seen_until: dict[Hashable, int] = {}
        self._steps = steps
        writes = [index for index, step in enumerate(steps) if isinstance(step.action, Write)]
        self._writes = sorted(writes, key=lambda index: -steps[index].rank)
        self._reads = sorted(reads)
        self._makers: dict[int, list[int]] = {}
        self._initial = initial
        self._places: dict[str, Place | None] | None = None

    def allows(self, action: Write | Read | Append, state: Hashable) -> bool:
        if not isinstance(action, Append):
            return True
        if self._places is None:
            self._places = places_of_appends([action for action, _, _ in self._steps], self._initial)
        if action.text not in self._places:
            return True
        place = self._places[action.text]
        return place is not None and isinstance(state, str) and len(state) == place.end and place.text.startswith(state)

    def settle(self, state: Hashable, position: int) -> Hashable:
        if state is UNSEEN:
            return UNSEEN
        if (until := self._seen_until.get(state)) is None:
            until = self._seen_until[state] = self._last_read_of(str(state))
        return state if until >= position else UNSEEN

    def _last_read_of(self, prefix: str) -> int:
        first = bisect_left(self._texts, prefix)
        after = bisect_right(self._texts, prefix, lo=first, key=lambda text: text[: len(prefix)])
        return max(self._ranks[first:after], default=-1)

    def useful(self, action: Write | Read | Append, position: int) -> bool:
        match action:
            case Write(value):
                return self.settle(value, position) is not UNSEEN
            case Append(text):
                if (seen := self._contained.get(text)) is None:
                    seen = self._contained[text] = text in self._contents
                return seen
        return False

    def rescuers(self, old: Hashable, new: Hashable, position: int, done: int) -> Sequence[int] | None:
        """Each of the next reads sees a text that begins with `new`, or else with one that is written in between, by an
        operation that begins before that read returns."""
        del old
        following = bisect_left(self._reads, (position,))
        for rank, text in self._reads[following : following + READS_AHEAD]:
            fits = isinstance(new, str) and text.startswith(new)
            if fits or done >> rank - position & 1:
                continue
            if (makers := self._makers.get(rank)) is None:
                makers = self._makers[rank] = [each for each in self._writes if self._makes(each, rank, text)]
            return makers
        return None

    def _makes(self, index: int, rank: int, text: str) -> bool:
        action, opened, _ = self._steps[index]
        return isinstance(action, Write) and opened <= rank and text.startswith(str(action.value))


class Place(NamedTuple):
    """The beginning of a text: all before `end`."""

    text: str
    end: int


def places_of_appends(actions: Sequence[Write | Read | Append], initial: Hashable) -> dict[str, Place | None]:
    """For appended texts of which results tell the place: the state in which the append must have taken effect; None if
    they contradict each other, so that there is none.

    Texts that several operations append are left out, and so are results that can be put together in several ways, of
    a written text, or the initial one, and appended ones.  (Some results are left out that are not ambiguous, since it
    is not looked at that an operation takes effect only once.)"""
    appends = Counter(action.text for action in actions if isinstance(action, Append))
    written = {str(action.value) for action in actions if isinstance(action, Write)}
    written |= {initial} if isinstance(initial, str) else set()
    lengths = sorted({len(text) for text in appends})
    places: dict[str, Place | None] = {}
    ways: list[int] = []  # by length: in how many the beginning of the result can be put together; 2 is several
    before = ""
    for result in sorted({str(action.value) for action in actions if isinstance(action, Read)}):
        del ways[_shared(before, result) + 1 :]
        for end in range(len(ways), len(result) + 1):
            last = (ways[end - n] for n in lengths if n <= end and result[end - n : end] in appends)
            ways.append(min(2, (result[:end] in written) + sum(last)))
        before, end = result, len(result)
        while ways[end] == 1 and result[:end] not in written:
            start = next(end - n for n in lengths if n <= end and ways[end - n] and result[end - n : end] in appends)
            text, place = result[start:end], Place(result, start)
            if appends[text] == 1:
                known = places.setdefault(text, place)
                if known is not None and known.text[: known.end] != result[:start]:
                    places[text] = None
            end = start
    return places


def _shared(one: str, other: str) -> int:
    """How long the two begin alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class TransactionOutlook(Outlook[Transaction]):
    """For several cells at once: each (key, value) of the state is seen or unseen on its own, as in `CellOutlook`."""

    def __init__(self, steps: Sequence[Timed[Transaction]]) -> None:
        self._seen_until: dict[Hashable, int] = {}
        for action, _, rank in steps:
            for pair in action.reads:
                self._seen_until[pair] = max(rank, self._seen_until.get(pair, -1))

    def settle(self, state: Hashable, position: int) -> Hashable:
        assert isinstance(state, frozenset)
        stale = [pair for pair in state if pair[1] is not UNSEEN and self._seen_until.get(pair, -1) < position]
        return (state - frozenset(stale)) | {(key, UNSEEN) for key, _ in stale} if stale else state

    def useful(self, action: Transaction, position: int) -> bool:
        return any(self._seen_until.get(pair, -1) >= position for pair in action.writes)
