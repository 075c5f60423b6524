"""parts.hybrid: a Lamport clock that stays near physical time (Kulkarni et al. 2014; DESIGN section 5)."""

import random
from statistics import median_low

import pytest

from phalanx.model.clock import COUNTER_BITS, MILLISECOND, SECOND, Instant, stamp_of, wall_ms
from phalanx.parts.hybrid import HybridClock

OFFSET = 500 * MILLISECOND
START = 1_700_000_000 * SECOND


NOT_KNOWN = -(10**30)


def limit_of(own: list[int], others: dict[str, tuple[int, int]], members: int, mono: int) -> int:
    """The slow way: each shown clock, aged since it was shown; what was not is behind."""
    known = [*own, *(wall_ms * MILLISECOND + mono - since for wall_ms, since in others.values())]
    return median_low([*known, *[NOT_KNOWN] * (members - len(known))]) + OFFSET


def test_the_clock_is_a_lamport_clock_within_the_bound() -> None:
    """Against a twin that keeps what was shown and computes the bound anew each time."""
    for seed in range(1_000):
        rng = random.Random(seed)
        clock = HybridClock(OFFSET)
        mono, wrong = 0, rng.choice((0, 0, 3_600 * SECOND, -3_600 * SECOND, 400 * MILLISECOND))
        members = list("abcd")[rng.random() < 0.3 :]
        clock.watch(members, "a")
        shown: dict[str, tuple[int, int]] = {}
        greatest, line = 0, (-1, 0)
        for _ in range(50):
            mono += rng.randrange(50 * MILLISECOND)
            now = Instant(mono, START + mono + wrong)
            own = [now.wall] if "a" in members else []
            knows = 2 * (len(own) + len(shown)) > len(members)
            assert clock.knows_median == knows
            match rng.randrange(7):
                case 0 | 1:
                    name, error = rng.choice("bcdx"), rng.choice((0, 0, 20, -20, 10**9))
                    there = (START + mono) // MILLISECOND + error
                    clock.shown(name, there, now)
                    if name in members:
                        shown[name] = (there, mono)
                case 2:
                    merged = stamp_of(START + mono) + rng.randrange(1 << 20)
                    clock.merge(merged)
                    greatest = max(greatest, merged)
                case 3 if rng.random() < 0.3:
                    others = rng.sample("bcd", rng.randint(0, 3))
                    members = others if others and rng.random() < 0.3 else ["a", *others]
                    clock.watch(members, "a")
                    shown = {n: at for n, at in shown.items() if n in members}
                    clock.restart(greatest)
                    greatest += 1
                case _:
                    ticks = knows and rng.random() < 0.5
                    stamp = clock.tick(now) if ticks else clock.read(now)
                    limit = limit_of(own, shown, len(members), mono)
                    reached = line[0] + (mono - line[1]) * 2**COUNTER_BITS // (2 * MILLISECOND)
                    if knows and stamp_of(limit) >= greatest:
                        greatest = max(greatest, stamp_of(min(now.wall, limit)))
                    elif knows and line[0] >= 0 and reached >= greatest:
                        greatest = reached
                    elif knows:
                        line = greatest, mono
                    greatest += ticks
                    assert stamp == greatest, f"seed {seed}"
            assert clock.now == greatest, f"seed {seed}"


def test_ticks_are_distinct_and_grow_though_time_stands_still() -> None:
    clock, now = HybridClock(OFFSET), Instant(0, START)
    clock.watch("a", "a")
    stamps = [clock.tick(now) for _ in range(100_000)]
    assert stamps == sorted(set(stamps)), "the counter carries into the milliseconds"
    assert wall_ms(stamps[-1]) - START // MILLISECOND <= 2


def test_nothing_is_stamped_and_nothing_refused_before_the_median_is_known() -> None:
    """Counter-example 11: our own clock may be the wrong one."""
    clock, now = HybridClock(OFFSET), Instant(0, START)
    clock.watch("abc", "a")
    assert not clock.knows_median and clock.read(now) == 0
    assert not clock.is_ahead(stamp_of(START + 10**18), now)
    with pytest.raises(AssertionError):
        clock.tick(now)
    clock.shown("b", START // MILLISECOND, now)
    assert clock.tick(now) == stamp_of(START) + 1


def test_a_clock_that_is_not_one_of_the_members_moves_nothing() -> None:
    """Counter-example 11: of a process that is in no view yet, and of a learner."""
    clock, now = HybridClock(OFFSET), Instant(0, START + 3_600 * SECOND)
    assert not clock.is_ahead(stamp_of(START), now) and clock.read(now) == 0
    clock.restart(stamp_of(START))
    clock.watch("b", "a")
    assert not clock.knows_median and clock.read(now) == stamp_of(START) + 1
    clock.shown("b", START // MILLISECOND, now)
    assert clock.error(now) == 3_600 * SECOND
    assert clock.read(now) == stamp_of(START + OFFSET), "as any member whose clock is ahead"
    assert clock.is_ahead(stamp_of(START + 2 * OFFSET + 2 * MILLISECOND), now)
    clock, now = HybridClock(OFFSET), Instant(0, START - 3_600 * SECOND)
    clock.watch("b", "a")
    clock.shown("b", START // MILLISECOND, now)
    assert not clock.is_ahead(stamp_of(START), now), "it is ours that is wrong"


def test_while_clocks_are_not_known_those_that_are_may_be_the_wrong_ones() -> None:
    """Two of five are wrong, and shown first."""
    clock, now = HybridClock(OFFSET), Instant(0, START + 3_600 * SECOND)
    clock.watch("abcde", "a")
    for name, wall in (("b", START + 3_600 * SECOND), ("c", START)):
        assert not clock.knows_median
        clock.shown(name, wall // MILLISECOND, now)
    assert clock.read(now) == stamp_of(START + OFFSET)


def test_a_stamp_beyond_twice_the_bound_is_ahead_and_one_within_it_is_not() -> None:
    """SCENARIOS 26."""
    clock, now = HybridClock(OFFSET), Instant(0, START)
    clock.read(now)
    clock.watch("abc", "a")
    for name in "bc":
        clock.shown(name, START // MILLISECOND, now)
    assert not clock.is_ahead(stamp_of(START + 2 * OFFSET), now)
    assert clock.is_ahead(stamp_of(START + 2 * OFFSET + 2 * MILLISECOND), now)


def test_who_insists_on_a_stamp_that_is_ahead_knows_better() -> None:
    """All clocks were ahead for a moment, and this node did not look."""
    clock = HybridClock(OFFSET)
    clock.watch("ab", "a")
    clock.shown("b", START // MILLISECOND, Instant(0, START))
    stamp, step = stamp_of(START + 3_600 * SECOND), SECOND // 20
    said = [clock.is_ahead(stamp + number, Instant(number * step, START + number * step)) for number in range(25)]
    assert said == [True] * 20 + [False] * 5
    later = 60 * SECOND
    said = [clock.is_ahead(stamp, Instant(later + number * step, START + later)) for number in range(25)]
    assert said == [True] * 20 + [False] * 5, "that was another one"
    assert clock.is_ahead(stamp - 1, Instant(later + 2 * SECOND, START + later)), "nobody had insisted on that"


def test_what_a_right_clock_stamps_is_never_ahead_for_another() -> None:
    """Whatever single clock of five is wrong: the medians of the others differ by little."""
    for seed in range(500):
        rng = random.Random(seed)
        names = list("abcde")
        errors = {n: rng.randrange(-50, 50) * MILLISECOND for n in names}
        errors[rng.choice(names)] = rng.choice((10**18, -(10**18), SECOND))
        clocks = {n: HybridClock(OFFSET) for n in names}

        def at(name: str, mono: int, errors: dict[str, int] = errors) -> Instant:
            return Instant(mono, START + mono + errors[name])

        for n in names:
            clocks[n].watch(names, n)
            for other in names:
                if n != other:
                    clocks[n].shown(other, at(other, 0).wall // MILLISECOND, at(n, 0))
        for mono in range(0, SECOND, 100 * MILLISECOND):
            sender = rng.choice(names)
            stamp = clocks[sender].tick(at(sender, mono))
            for n in names:
                assert not clocks[n].is_ahead(stamp, at(n, mono)), f"seed {seed}"
                clocks[n].merge(stamp)


def test_clocks_that_were_ahead_and_are_put_right_go_at_half_the_rate_of_time_together() -> None:
    """Whatever they hear of each other and how seldom: all of them together are no faster, and none stands still."""
    for seed in range(300):
        rng = random.Random(seed)
        names = list("abcde")[: rng.choice((1, 2, 3, 5))]
        ahead = rng.choice((2, 60, 3_600, 10**8)) * SECOND
        clocks = {n: HybridClock(OFFSET) for n in names}
        late = {n: rng.randrange(10**15) for n in names}

        def at(name: str, mono: int, late: dict[str, int] = late) -> Instant:
            return Instant(mono + late[name], START + mono)

        for n in names:
            clocks[n].watch(names, n)
            clocks[n].merge(stamp_of(START + ahead))
            for other in names:
                clocks[n].shown(other, START // MILLISECOND, at(n, 0))
            clocks[n].read(at(n, 0))
        mono, ticks, greatest = 0, 0, stamp_of(START + ahead)
        for _ in range(200):
            mono += rng.choice((0, 1_000, MILLISECOND, 200 * MILLISECOND))
            name = rng.choice(names)
            if rng.random() < 0.5:
                greatest = max(greatest, clocks[name].tick(at(name, mono)))
                ticks += 1
            else:
                greatest = max(greatest, clocks[name].read(at(name, mono)))
            for n in names:
                if rng.random() < 0.5 and not clocks[n].is_ahead(greatest, at(n, mono)):
                    clocks[n].merge(greatest)
            slow = stamp_of(START + ahead) + (mono << COUNTER_BITS) // (2 * MILLISECOND)
            right = stamp_of(START + mono + OFFSET)
            assert greatest <= max(slow + ticks, right), f"seed {seed}: faster than half the rate of time"
        for n in names:
            reached = clocks[n].read(at(n, mono))
            assert reached >= slow or stamp_of(START + mono) <= reached <= right, f"seed {seed}: {n} stands still"


def test_clocks_that_have_caught_up_are_followed_again() -> None:
    clock = HybridClock(OFFSET)
    clock.watch("a", "a")
    clock.merge(stamp_of(START + 10 * SECOND))
    leads = []
    for mono in range(0, 30 * SECOND, SECOND // 10):
        now = Instant(mono, START + mono)
        clock.read(now)
        leads.append(clock.lead(now))
    assert leads[0] == 10 * SECOND - OFFSET and leads == sorted(leads, reverse=True)
    assert leads[180] > 0, "it takes as long again as the clocks were ahead"
    assert leads[200] == 0 and clock.now == stamp_of(START + 30 * SECOND - SECOND // 10)


def test_a_clock_knows_how_far_it_is_from_the_median() -> None:
    """SCENARIOS 26."""
    clock, now = HybridClock(OFFSET), Instant(0, START)
    clock.merge(stamp_of(START + 10 * SECOND))
    assert clock.error(now) == clock.lead(now) == 0, "it is in no view"
    clock = HybridClock(OFFSET)
    clock.watch("abc", "a")
    assert clock.error(now) == clock.lead(now) == 0, "nothing is known yet"
    for name, wall in (("b", START - 5 * SECOND), ("c", START - 4 * SECOND)):
        clock.shown(name, wall // MILLISECOND, now)
    assert clock.error(now) == 4 * SECOND
    assert clock.error(Instant(SECOND, START - 6 * SECOND)) == -2 * SECOND, "the others are 4 and 3 s behind by now"
