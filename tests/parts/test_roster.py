"""parts.roster against the definitions, spelt out slowly: a bit for each place in `View.everyone`."""

import random

from phalanx.model.view import Member, View
from phalanx.parts.roster import Roster


def view_of(rng: random.Random) -> View:
    members = tuple(Member(name, f"at {name}", 1) for name in rng.sample("abcdefgh", rng.randint(0, 8)))
    full = rng.randint(0, len(members))
    return View(1, 1, members[:full], members[full:])


def test_masks_and_ranks_are_by_place_in_the_view() -> None:
    for seed in range(1_000):
        rng = random.Random(seed)
        view = view_of(rng)
        roster = Roster(view)
        everyone = [m.name for m in view.everyone]
        for name in "abcdefghx":
            assert roster.rank(name) == view.rank(name), f"seed {seed}"
            assert roster.members.get(name) == view.named(name), f"seed {seed}"
        for _ in range(20):
            names = set(rng.sample("abcdefghxyz", rng.randint(0, 11)))  # strangers among them
            mask = sum(2**place for place, name in enumerate(everyone) if name in names)
            for _ in range(2):  # the second answer is the one remembered
                assert roster.mask(names) == mask, f"seed {seed}"
                assert roster.unmask(mask) == names & set(everyone), f"seed {seed}"


def test_bits_of_nobody_are_ignored() -> None:
    """A peer may send any mask."""
    roster = Roster(View(1, 1, (Member("a", "a", 1),), (Member("b", "b", 1),)))
    assert roster.unmask(0b11 | 1 << 200) == {"a", "b"}


def test_what_a_peer_can_make_it_remember_is_limited() -> None:
    roster = Roster(View(1, 1, (Member("a", "a", 1), Member("b", "b", 1))))
    masks = [1 | garbage << 2 for garbage in range(10_000)]
    first = [roster.unmask(mask) for mask in masks]
    assert set(first) == {frozenset("a")}
    remembered = sum(roster.unmask(mask) is names for mask, names in zip(masks, first, strict=True))
    assert remembered == 1 << 12
