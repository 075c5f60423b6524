"""Quorums of a view, what a view survives, and the largest set that can all talk (DESIGN sections 4, 6, 7).

Source: Jajodia and Mutchler, "Dynamic Voting Algorithms for Maintaining the Consistency of a Replicated Database"
(1990): after each change the quorum is one of the survivors; the tie of an even number goes to the eldest.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import combinations

from phalanx.model.view import Name, View


def is_quorum(view: View, names: Collection[Name]) -> bool:
    """More than half of the full members, or exactly half with rank 0.  View 0 founds a cluster: all of them."""
    members = view.members
    present = len([m for m in members if m.name in names])
    if view.id == 0:
        return present == len(members)
    return 2 * present > len(members) or (2 * present == len(members) and members[0].name in names)


def survives(view: View) -> int:
    """How many full members may fail at once, whichever they are, without stopping the rest."""
    n = len(view.members)
    return (n - 1) // 2 if n % 2 or n == 0 else n // 2 - 1


EXACT_MAX = 14
"""So many names with broken links are searched exactly; beyond, the one with the most broken links goes, one by one."""


def largest_clique(
    names: Sequence[Name], linked: Callable[[Name, Name], bool], enough: Callable[[Collection[Name]], bool]
) -> tuple[Name, ...]:
    """The largest set of `names` (given in seniority) of which every two are linked and that is `enough`; of equally
    large ones the one with the elders.  () if there is none.  Those without a broken link are in any case."""
    broken = {a: {b for b in names if b != a and not linked(a, b)} for a in names}
    doubtful = [n for n in names if broken[n]]
    while len(doubtful) > EXACT_MAX:
        worst = max(reversed(doubtful), key=lambda n: len(broken[n]))
        for others in broken.values():
            others.discard(worst)
        broken[worst] = set(names)
        doubtful = [n for n in doubtful if broken[n] and n != worst]  # whose only broken links were to it stay
    whole = [n for n in names if not broken[n]]
    for size in range(len(doubtful), -1, -1):
        for subset in combinations(doubtful, size):
            if all(b not in broken[a] for a, b in combinations(subset, 2)):
                chosen = {*whole, *subset}
                if enough(chosen):
                    return tuple(n for n in names if n in chosen)
    return ()
