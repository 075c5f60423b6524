"""What a run covered, as a set of features: cheap, and a function of the run alone.

Nothing is instrumented.  A machine says in its notes what it does (`Output.notes`), and these are counted, at each node
in the order in which they were made:

    promise x4            some note was made 4 to 7 times in the run
    promise > accept      at some node, one note came next after another; what befell the node counts as one
    Crash at promise      a fault struck a node whose last note was that: how far its view change had come, for example

Counts are put into buckets, so that a run that does something once more is no news, and one that does it twice as often
is.  Source: Zalewski, "Technical details of american fuzzy lop" (2013): pairs of consecutive places, and the buckets.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable

from phalanx.model.view import Name

BUCKETS = (1, 2, 3, 4, 8, 16, 32, 128)
"""The least count of each."""

# fmt: off
BEFALLS = frozenset(
    {
        "crash", "disk failed", "disk full", "disk lost", "disk unreadable", "drop", "log cut", "log damaged",
        "log unsynced", "pause", "power off", "resume", "start",
    }
)
# fmt: on
"""Of what the world tells, what happens to one node, which it names first."""

FRESH = "nothing"
"""In place of the last note of a node that has made none."""


class Coverage:
    """Told by a world, in the order of events."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._last: dict[Name, str] = {}

    def noted(self, name: Name, what: str) -> None:
        """The machine of that node made the note."""
        counts = self._counts
        counts[what] += 1
        counts[f"{self._last.get(name, FRESH)} > {what}"] += 1
        self._last[name] = what

    def befell(self, name: Name, what: str) -> None:
        """The world did something to that node."""
        self.noted(name, f"sim.{what}")

    def struck(self, kind: str, name: Name) -> None:
        """A fault of that kind begins, and the node is one of those that it strikes."""
        self._counts[f"{kind} at {self._last.get(name, FRESH)}"] += 1

    def features(self) -> tuple[str, ...]:
        """In the order of the alphabet, each once."""
        return tuple(sorted(f"{what} x{_bucket(count)}" for what, count in self._counts.items()))


def _bucket(count: int) -> int:
    return BUCKETS[bisect_right(BUCKETS, count) - 1]


def kinds_of(feature: str) -> tuple[str, str]:
    """What sort of feature that is, "note", "order" or "fault", and the feature without its count."""
    what = feature.rpartition(" x")[0]
    return "order" if " > " in what else "fault" if " at " in what else "note", what


def reach(features: Iterable[str]) -> int:
    """How many different pairs of notes came one after the other: a measure of how much happened in the run."""
    return sum(" > " in feature for feature in features)
