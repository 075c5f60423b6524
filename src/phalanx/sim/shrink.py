"""Make a failing plan small: fewer faults, fewer calls, fewer nodes, shorter, and a calmer network.

Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002): minimizing delta debugging
on the lists; greedy tries elsewhere.  A smaller plan is another run, so it is kept only if it fails in the
same way, which is: with the same kind of failure.  What fails only by chance needs another chance once the plan has
changed: when nothing smaller fails any more, all is tried again with some luck.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Fault, end_ns
from phalanx.sim.plan import Plan
from phalanx.sim.run import STUCK, Result, Scenario, run

RUNS_MAX = 1_000
"""Runs that one shrinking may take unless told otherwise."""

LUCKS = 16
"""Runs with different luck after which a plan counts as one that does not fail."""

T = TypeVar("T")


class DoesNotFail(ValueError):
    """A plan does not fail in that way, or not each time: it depends on something that no plan decides."""


class Shrunk(NamedTuple):
    """The smallest plan found, and how it fails."""

    plan: Plan
    kind: str
    result: Result
    """With its trace."""
    runs: int

    def __str__(self) -> str:
        return f"{self.kind} after {self.runs} runs of shrinking\n{self.plan.describe()}\nreplay: {self.plan.dump()}"


def shrink(factory: Callable[[], Scenario], plan: Plan, kind: str | None = None, *, runs_max: int = RUNS_MAX) -> Shrunk:
    """Shrink a plan that fails with failures of that kind (None: the kind it fails with first, or being stuck).

    Raises `DoesNotFail` if the plan does not fail so.  With a smaller `runs_max` the plan may stay larger than need be.
    """
    return _Shrinking(factory, plan, kind, runs_max).run()


class _Shrinking:
    """`_plan` always fails with `_kind`."""

    def __init__(self, factory: Callable[[], Scenario], plan: Plan, kind: str | None, runs_max: int) -> None:
        self._factory = factory
        self._left = self._runs_max = runs_max
        self._lucks = 1
        first = run(factory(), plan)
        if kind is None:
            kind = first.failures[0].kind if first.failures else next(iter(first.kinds), None)
        if kind is None or kind not in first.kinds:
            raise DoesNotFail(f"the plan does not fail with {kind or 'anything'}: {first}")
        self._kind = kind
        calls = tuple(range(first.calls)) if plan.calls is None else plan.calls
        self._plan = msgspec.structs.replace(plan, calls=calls)

    def run(self) -> Shrunk:
        for self._lucks in (1, LUCKS):
            self._to_the_end()
        result = run(self._factory(), self._plan, trace=True)
        if self._kind not in result.kinds:
            raise DoesNotFail(f"{self._plan} is not deterministic: it failed, and now it does not")
        return Shrunk(self._plan, self._kind, result, self._runs_max - self._left)

    def _to_the_end(self) -> None:
        before = None
        while self._left > 0 and before != self._plan:
            before = self._plan
            self._list("faults", self._plan.faults)
            self._list("calls", self._plan.calls or ())
            self._fewer_nodes()
            self._shorter()
            self._calmer()
            self._smaller_faults()

    def _try(self, **changes: Any) -> bool:
        """Keep a changed plan if it fails in the same way."""
        candidate = msgspec.structs.replace(self._plan, **changes)
        if candidate == self._plan:
            return False
        for luck in range(self._plan.luck, self._plan.luck + self._lucks):
            if self._left <= 0:
                return False
            self._left -= 1
            lucky = msgspec.structs.replace(candidate, luck=luck)
            if self._kind in run(self._factory(), lucky).kinds:
                self._plan = lucky
                return True
        return False

    def _list(self, field: str, items: Sequence[Any]) -> None:
        """Delta debugging: leave out ever smaller runs of the items, until no single one can be left out."""
        size = len(items)
        while size:
            kept = list(items)
            for start in range(0, len(items), size)[::-1]:
                shorter = kept[:start] + kept[start + size :]
                if self._try(**{field: tuple(shorter)}):
                    kept = shorter
            items = kept
            size = min(size // 2, len(items))

    def _fewer_nodes(self) -> None:
        for nodes in range(1, self._plan.nodes):
            if self._try(nodes=nodes):
                return

    def _shorter(self) -> None:
        """End the storm with its last fault, and halve the calm: but every run is stuck in too short a calm, so a stuck
        one must remain enough for the same run without faults."""
        last_ns = max((end_ns(fault) for fault in self._plan.faults), default=0)
        if last_ns < self._plan.heal_at_ns:
            self._try(heal_at_ns=last_ns)
        while self._plan.calm_ns > SECOND and self._is_enough(self._plan.calm_ns // 2):
            if not self._try(calm_ns=self._plan.calm_ns // 2):
                return

    def _is_enough(self, calm_ns: int) -> bool:
        if self._kind != STUCK:
            return True
        self._left -= 1
        return run(self._factory(), msgspec.structs.replace(self._plan, faults=(), calm_ns=calm_ns // 2)).ok

    def _calmer(self) -> None:
        calm = Conditions()
        if self._try(conditions=calm):
            return
        for field in Conditions.__struct_fields__:
            self._try(conditions=msgspec.structs.replace(self._plan.conditions, **{field: getattr(calm, field)}))

    def _smaller_faults(self) -> None:
        for index in range(len(self._plan.faults)):
            while any(
                self._try(faults=_with(self._plan.faults, index, smaller)) for smaller in _smaller(self._plan, index)
            ):
                pass


def _smaller(plan: Plan, index: int) -> Iterator[Fault]:
    """The fault with one of its times (or sizes) halved, if that is not nothing."""
    fault = plan.faults[index]
    for field in fault.__struct_fields__:
        value = getattr(fault, field)
        if field.endswith("_ns") and field != "at_ns" and isinstance(value, int) and abs(value) > MILLISECOND:
            yield msgspec.structs.replace(fault, **{field: int(value / 2)})


def _with(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])
