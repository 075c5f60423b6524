"""A search that prefers plans near those that reached something new.

The *corpus* is every plan whose run was the first to have some feature (`coverage`).  A new plan is drawn afresh with
probability `FRESH`, else it is a mutation of one that reached something rare: of the notes, of the pairs of notes, of the
states in which a fault struck, or of the counts of all these, each as likely as the others, a feature is chosen by the
inverse of how many runs had it, and the plan is the one with the fewest faults that has it.

Plans are made a generation at a time, and what their runs covered is learned in the order of the generation.  So the
search is a function of its first seed and of what it began with, on however many processes the plans are run.

Sources: Zalewski, "Technical details of american fuzzy lop" (2013): the corpus and splicing; Lemieux and Sen, "FairFuzz"
(ASE 2018): mutations of what reaches something rare; Groce et al. (2012): what is drawn afresh is a swarm's.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from phalanx.sim.coverage import kinds_of
from phalanx.sim.mutation import mutate
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result
from phalanx.sim.swarm import Swarm, draw

GENERATION = 32
"""Plans that are made before any of their runs is learned from: more processes than that would not be used."""

FRESH = 0.3
"""Fraction of plans that are drawn afresh.  There is always something that no mutation of what is known leads to."""

CORPUS_MAX = 4_096
"""Plans in the corpus: some 10 MB.  Later ones are learned from, but not added."""


class Entry(NamedTuple):
    """A plan in the corpus."""

    plan: Plan
    found: tuple[str, ...]
    """The features that no run had before."""


class Search:
    """Ask for a `generation`, run its plans, and have the results learned, in the same order.

    kept: plans that an earlier search found, or somebody wrote: the first generations are these.
    Raises ValueError if the swarm could not have drawn one of them.
    """

    def __init__(self, swarm: Swarm, first: int, kept: Iterable[Plan] = ()) -> None:
        self._swarm = swarm
        self._first = self._seed = first
        self._number = 0
        self._kept = list(kept)[::-1]
        for plan in self._kept:
            if (why := swarm.refusal(plan)) is not None:
                raise ValueError(f"the scenario has no plan with {why}")
        self.corpus: list[Entry] = []
        self._runs: Counter[str] = Counter()
        """How many runs had each feature, and each without its count."""
        self._simplest: dict[str, Plan] = {}
        """The plan with the fewest faults that has it, of those that did not fail."""
        self._sorts: dict[str, list[str]] = {}
        """These features, by what they are of."""

    @property
    def next_seed(self) -> int:
        """The seed of the next plan that is drawn afresh: of all below it the plans have been made."""
        return self._seed

    def is_drawn(self, plan: Plan) -> bool:
        """The plan is that of its seed: whoever has the seed has the plan."""
        return plan == draw(plan.seed, self._swarm)

    def generation(self, size: int = GENERATION) -> list[Plan]:
        """The next plans, so many."""
        rng = random.Random(f"{self._first}/guided/{self._number}")
        self._number += 1
        sorts = [(each, list(accumulate(1 / self._runs[what] for what in each))) for each in self._sorts.values()]
        plans: list[Plan] = []
        while len(plans) < size:
            plan = self._kept.pop() if self._kept else None
            if plan is None and sorts and rng.random() >= FRESH:
                rare, other = (rng.choices(*rng.choice(sorts))[0] for _ in range(2))
                plan = mutate(self._simplest[rare], self._simplest[other], self._swarm, rng)
            plans.append(plan if plan is not None else self._fresh())
        return plans

    def _fresh(self) -> Plan:
        plan = draw(self._seed, self._swarm)
        self._seed += 1
        return plan

    def learn(self, results: Sequence[Result]) -> None:
        """What the runs covered.  One that failed is not kept: its bug is known, and ended it early."""
        for result in results:
            new = tuple(feature for feature in result.features if feature not in self._runs)
            if new and result.ok and len(self.corpus) < CORPUS_MAX:
                self.corpus.append(Entry(result.plan, new))
            for sort, features in _sorted(result.features).items():
                self._runs.update(features)
                if result.ok:
                    self._keep(result.plan, sort, features)

    def _keep(self, plan: Plan, sort: str, features: Iterable[str]) -> None:
        for feature in features:
            simplest = self._simplest.get(feature)
            if simplest is None:
                self._sorts.setdefault(sort, []).append(feature)
            if simplest is None or len(plan.faults) < len(simplest.faults):
                self._simplest[feature] = plan


def _sorted(features: Iterable[str]) -> dict[str, list[str]]:
    """By sort: as they are, which is how often something happened, and what happened."""
    sorts: dict[str, list[str]] = {"count": list(features)}
    for feature in features:
        sort, what = kinds_of(feature)
        sorts.setdefault(sort, []).append(what)
    return sorts
