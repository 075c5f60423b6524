"""A search that learns where much happens, and that prefers plans near those that reached something new.

The *corpus* is every plan whose run was the first to have some feature (`coverage`).  A new plan is

- drawn afresh with probability `FRESH`,
- else, while plans that are drawn still reach something new, a *transplant*: one that is drawn, but for its seed.  That
  is of those with which most was reached (`coverage.reach`) on clusters of that size, whatever the storm: a new storm,
  where there is much that it can strike,
- else a mutation of a plan that reached something rare: of the notes, of the pairs of notes, of the states in which a
  fault struck, or of the counts of all these, each as likely as the others, a feature is chosen by the inverse of how
  many runs had it, and the plan is the one with the fewest faults that has it.

What is near a plan that passed mostly passes, so mutations are for what chance does not reach.

Plans are made a generation at a time, and what their runs covered is learned in the order of the generation.  So the
search is a function of its first seed and of what it began with, on however many processes the plans are run.

Sources: Zalewski, "Technical details of american fuzzy lop" (2013): the corpus and splicing; Lemieux and Sen, "FairFuzz"
(ASE 2018): mutations of what reaches something rare; Groce et al. (2012): what is drawn afresh is a swarm's; Böhme,
"STADS" (TOSEM 2018): the chance that another run reaches something new, here as what decides how to go on; Rothermel et
al., "Prioritizing Test Cases for Regression Testing" (TSE 2001): plans are run again in the order of what they cover.
"""

import random
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from phalanx.sim.coverage import kinds_of, reach
from phalanx.sim.mutation import mutate
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result
from phalanx.sim.swarm import Swarm, draw

GENERATION = 32
"""Plans that are made before any of their runs is learned from: more processes than that would not be used."""

FRESH = 0.2
"""Fraction of plans that are drawn afresh.  There is always something that nothing which is known leads to."""

LATELY = 64
"""Of so many plans that were drawn last it counts whether they reached something new."""

BEST = 4
"""One in so many clusters of a size is one where much happens."""

CLUSTERS_MAX = 4_096
"""Seeds that are remembered of each size of clusters: when there are more, only the better half is."""

CORPUS_MAX = 4_096
"""Plans in the corpus: some 10 MB.  Later ones are learned from, but not added."""


class Entry(NamedTuple):
    """A plan in the corpus."""

    plan: Plan
    found: tuple[str, ...]
    """The features that no run had before."""
    reach: int
    """Of its run (`coverage.reach`)."""


def most_first(plans: Iterable[tuple[Plan, int]]) -> list[Plan]:
    """The plans, each given with its reach: those with most of it, among plans with as many nodes, come first.

    (More nodes reach more, but a bug of small clusters is found in small ones only.)"""
    sizes: dict[int, list[tuple[Plan, int]]] = {}
    for plan, reached in plans:
        sizes.setdefault(plan.nodes, []).append((plan, reached))
    placed: list[tuple[float, Plan]] = []
    for same in sizes.values():
        same.sort(key=lambda each: -each[1])
        placed += (((place + 0.5) / len(same), plan) for place, (plan, _) in enumerate(same))
    return [plan for _, plan in sorted(placed, key=lambda each: each[0])]


class _Clusters:
    """The seeds of clusters of one size, and what was reached with each, by one storm or another."""

    def __init__(self) -> None:
        self._reached: dict[int, tuple[int, int]] = {}
        """By seed: the sum over its runs, and how many they are."""
        self._sum = self._runs = 0

    def learn(self, seed: int, reached: int) -> None:
        """Of a run with that seed."""
        before, runs = self._reached.get(seed, (0, 0))
        self._reached[seed] = before + reached, runs + 1
        self._sum += reached
        self._runs += 1
        if len(self._reached) > CLUSTERS_MAX:
            self._reached = {better: self._reached[better] for better in self.best(2)}

    def best(self, one_in: int) -> list[int]:
        """The seeds with which most was reached.  A few runs say little, so one that reached what is usual is added."""
        usual = self._sum / max(1, self._runs)
        means = {seed: (reached + usual) / (runs + 1) for seed, (reached, runs) in self._reached.items()}
        return sorted(means, key=lambda seed: -means[seed])[: -(-len(means) // one_in)]


class Search:
    """Ask for a `generation`, run its plans, and have the results learned, in the same order.

    kept: plans that an earlier search found, or somebody wrote: the first generations are these, in this order.
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
        self._clusters: dict[int, _Clusters] = {}
        """By number of nodes."""
        self._drawn: set[Plan] = set()
        """Plans with storms that were drawn, whose runs are not learned from yet."""
        self._lately: deque[bool] = deque(maxlen=LATELY)
        """Which of the last of them reached something new."""

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
        best = {nodes: clusters.best(BEST) for nodes, clusters in self._clusters.items()}
        plans: list[Plan] = []
        while len(plans) < size:
            plan = self._kept.pop() if self._kept else None
            if plan is None and sorts and rng.random() >= FRESH:
                if self._draws_find(rng):
                    plan = self._draw(best, rng)
                else:
                    rare, other = (rng.choices(*rng.choice(sorts))[0] for _ in range(2))
                    plan = mutate(self._simplest[rare], self._simplest[other], self._swarm, rng)
            plans.append(plan if plan is not None else self._draw({}, rng))
        return plans

    def _draws_find(self, rng: random.Random) -> bool:
        """Of two of the last plans with drawn storms, one reached something new."""
        return not self._lately or any(rng.choice(self._lately) for _ in range(2))

    def _draw(self, elsewhere: dict[int, list[int]], rng: random.Random) -> Plan:
        """The plan of the next seed, or with one of those seeds, given by number of nodes, in its place."""
        plan = draw(self._seed, self._swarm)
        self._seed += 1
        if seeds := elsewhere.get(plan.nodes):
            plan = msgspec.structs.replace(plan, seed=rng.choice(seeds))
        self._drawn.add(plan)
        return plan

    def learn(self, results: Sequence[Result]) -> None:
        """What the runs covered.  One that failed is not kept: its bug is known, and ended it early."""
        for result in results:
            new = tuple(feature for feature in result.features if feature not in self._runs)
            if result.plan in self._drawn:
                self._drawn.remove(result.plan)
                self._lately.append(bool(new))
            if result.ok:
                reached = reach(result.features)
                self._clusters.setdefault(result.plan.nodes, _Clusters()).learn(result.plan.seed, reached)
                if new and len(self.corpus) < CORPUS_MAX:
                    self.corpus.append(Entry(result.plan, new, reached))
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
