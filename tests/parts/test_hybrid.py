"""parts.hybrid: a Lamport clock that stays near physical time (Kulkarni et al. 2014; DESIGN section 5)."""

import random
from statistics import median_low

import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant, stamp_of, wall_ms
from phalanx.parts.hybrid import HybridClock

OFFSET = 500 * MILLISECOND
START = 1_700_000_000 * SECOND


def limit_of(own: int, others: dict[str, tuple[int, int]], mono: int) -> int:
    """The slow way: each shown clock, aged since it was shown."""
    return median_low([own, *(wall_ms * MILLISECOND + mono - since for wall_ms, since in others.values())]) + OFFSET


def test_the_clock_is_a_lamport_clock_within_the_bound() -> None:
    """Against a twin that keeps what was shown and computes the bound anew each time."""
    for seed in range(1_000):
        rng = random.Random(seed)
        clock = HybridClock(OFFSET)
        mono, wrong = 0, rng.choice((0, 0, 3_600 * SECOND, -3_600 * SECOND, 400 * MILLISECOND))
        members = list("abcd")
        clock.watch(members, "a")
        shown: dict[str, tuple[int, int]] = {}
        greatest = 0
        for _ in range(50):
            mono += rng.randrange(50 * MILLISECOND)
            now = Instant(mono, START + mono + wrong)
            knows = 2 * (1 + len(shown)) > len(members)
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
                    members = ["a", *rng.sample("bcd", rng.randint(0, 3))]
                    clock.watch(members, "a")
                    shown = {n: at for n, at in shown.items() if n in members}
                    clock.restart(greatest)
                    greatest += 1
                case _:
                    ticks = knows and rng.random() < 0.5
                    stamp = clock.tick(now) if ticks else clock.read(now)
                    if knows:
                        bound = now.wall if not shown else min(now.wall, limit_of(now.wall, shown, mono))
                        greatest = max(greatest, stamp_of(bound))
                    greatest += ticks
                    assert stamp == greatest, f"seed {seed}"
            assert clock.now == greatest, f"seed {seed}"


def test_ticks_are_distinct_and_grow_though_time_stands_still() -> None:
    clock, now = HybridClock(OFFSET), Instant(0, START)
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


def test_a_stamp_beyond_twice_the_bound_is_ahead_and_one_within_it_is_not() -> None:
    """SCENARIOS 26."""
    clock, now = HybridClock(OFFSET), Instant(0, START)
    clock.read(now)
    clock.watch("abc", "a")
    for name in "bc":
        clock.shown(name, START // MILLISECOND, now)
    assert not clock.is_ahead(stamp_of(START + 2 * OFFSET), now)
    assert clock.is_ahead(stamp_of(START + 2 * OFFSET + 2 * MILLISECOND), now)


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
