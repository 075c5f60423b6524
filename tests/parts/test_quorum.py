"""parts.quorum against its definitions, spelt out slowly (Jajodia and Mutchler 1990; DESIGN section 4)."""

import random
from itertools import combinations

import pytest

from phalanx.model.view import Member, View
from phalanx.parts.quorum import EXACT_MAX, is_quorum, largest_clique, survives


def view_of(size: int, view: int = 3) -> View:
    return View(1, view, tuple(Member(f"n{i}", f"n{i}", 1) for i in range(size)))


def subsets(names: list[str]) -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_a_quorum_is_more_than_half_or_half_with_the_eldest(size: int) -> None:
    view = view_of(size)
    for names in subsets([m.name for m in view.members]):
        weight = sum(2 if name != "n0" else 3 for name in names)  # the eldest counts half a vote more
        total = 2 * size + 1
        assert is_quorum(view, names) == (2 * weight > total)


@pytest.mark.parametrize("size", range(1, 9))
def test_any_two_quorums_meet_and_one_of_a_quorum_and_the_rest_is_none(size: int) -> None:
    """Why a view has one successor (DESIGN section 6)."""
    view = view_of(size)
    everybody = frozenset(m.name for m in view.members)
    quorums = [names for names in subsets(sorted(everybody)) if is_quorum(view, names)]
    assert all(a & b for a in quorums for b in quorums)
    assert all(is_quorum(view, names) != is_quorum(view, everybody - names) for names in subsets(sorted(everybody)))


def test_strangers_and_learners_do_not_count() -> None:
    view = view_of(3)
    assert not is_quorum(view, {"n0", "x", "y", "z"})
    assert is_quorum(view, {"n1", "n2", "x"})


def test_view_0_needs_all_founders() -> None:
    """Counter-example 13."""
    for size in range(1, 6):
        view = view_of(size, view=0)
        for names in subsets([m.name for m in view.members]):
            assert is_quorum(view, names) == (len(names) == size)


@pytest.mark.parametrize("size", range(1, 9))
def test_survives_is_what_any_simultaneous_failures_leave_a_quorum(size: int) -> None:
    view = view_of(size)
    names = [m.name for m in view.members]

    def all_right(failures: int) -> bool:
        return all(is_quorum(view, set(names) - set(dead)) for dead in combinations(names, failures))

    assert survives(view) == max(k for k in range(size) if all_right(k))


def test_the_largest_clique_is_what_trying_all_subsets_finds() -> None:
    """The twin ranks every subset by size, then by its elders."""
    for seed in range(2_000):
        rng = random.Random(seed)
        names = [f"n{i}" for i in range(rng.randint(1, 6))]
        links = {frozenset(pair) for pair in combinations(names, 2) if rng.random() < rng.choice((0.3, 0.7, 0.95))}
        least = rng.randint(1, 4)
        found = largest_clique(
            names,
            lambda a, b, links=links: frozenset((a, b)) in links,  # type: ignore[misc]  # bound early
            lambda some, least=least: len(some) >= least,  # type: ignore[misc]  # bound early
        )
        cliques = [
            sorted(some)
            for some in subsets(names)
            if len(some) >= least and all(frozenset(pair) in links for pair in combinations(some, 2))
        ]
        best = min(cliques, key=lambda some: (-len(some), some), default=[])
        assert list(found) == best, f"seed {seed}"


@pytest.mark.parametrize("size", [EXACT_MAX + 2, 25, 60])
def test_of_many_broken_links_the_worst_ends_go_first_and_nobody_for_a_link_to_them(size: int) -> None:
    """Beyond `EXACT_MAX` names, where trying all subsets would take for ever."""
    view = view_of(size)
    names = [m.name for m in view.members]

    def best(broken: list[tuple[str, str]]) -> list[str]:
        bad = {frozenset(pair) for pair in broken}
        found = largest_clique(names, lambda a, b: frozenset((a, b)) not in bad, lambda some: is_quorum(view, some))
        return list(found)

    deaf = names[3]
    assert best([(deaf, other) for other in names if other != deaf]) == [n for n in names if n != deaf]
    half = size // 2 + 1
    assert best([(a, b) for a in names[:half] for b in names[half:]]) == names[:half]
    pairs = [(names[i], names[i + 1]) for i in range(0, 2 * (size // 3), 2)]
    assert best(pairs) == [n for n in names if n not in {younger for _, younger in pairs}]
    assert best(list(combinations(names, 2))) == []
