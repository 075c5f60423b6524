"""The question and its answer, for whoever has a client history."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from phalanx.check.explanation import Explanation, explain
from phalanx.check.linearizability import DEFAULT_BUDGET, judge
from phalanx.check.models import Model
from phalanx.check.search import Answer
from phalanx.model.history import Operation


class Verdict(NamedTuple):
    """Whether a history is linearizable, and what it took to find out."""

    answer: Answer
    explanation: Explanation | None
    """The smallest part found that cannot be ordered, if the history is not linearizable."""
    operations: int
    """Operations in the history."""
    parts: int
    """Parts that were searched apart: keys, or sets of keys that transactions tie together."""
    parts_failed: int
    explored: int
    """Configurations that the search entered."""

    @property
    def ok(self) -> bool | None:
        """True: linearizable.  False: not.  None: the budget was used up first."""
        return None if self.answer is Answer.UNKNOWN else self.answer is Answer.LINEARIZABLE


def check_linearizable(operations: Iterable[Operation], model: Model[Any], budget: int = DEFAULT_BUDGET) -> Verdict:
    """Judge a client history, given in any order.

    `budget` bounds the search, in configurations entered over all parts; a history that needs more is `UNKNOWN`.
    Raises MalformedOperation for an operation that the model does not know.

    >>> from phalanx.check.models import Register
    >>> from phalanx.model.history import Outcome
    >>> write = Operation(0, "write", "x", 1, None, Outcome.OK, invoked=0, completed=1)
    >>> stale = Operation(1, "read", "x", None, None, Outcome.OK, invoked=2, completed=3)
    >>> check_linearizable([write, stale], Register()).ok
    False
    """
    found = judge(operations, model, budget)
    explanation = None
    if found.failures:
        shortest = min(found.failures, key=lambda failure: failure.searched.deepest)
        explanation = explain(shortest, model)
    return Verdict(found.answer, explanation, found.operations, found.parts, len(found.failures), found.explored)
