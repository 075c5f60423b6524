"""parts.hybrid: a Lamport clock that stays near physical time (Kulkarni et al. 2014; DESIGN section 5)."""

import random
from statistics import median_high

from phalanx.model.clock import MILLISECOND, SECOND, Instant, stamp_of, wall_ms
from phalanx.parts.hybrid import HybridClock

OFFSET = 500 * MILLISECOND
START = 1_700_000_000 * SECOND


def limit_of(own: int, others: dict[str, tuple[int, int]], mono: int) -> int:
    """The slow way: each shown clock, aged since it was shown."""
    return median_high([own, *(wall_ms * MILLISECOND + mono - since for wall_ms, since in others.values())]) + OFFSET


def test_the_clock_is_a_lamport_clock_within_the_bound() -> None:
    """Against a twin that keeps what was shown and computes the bound anew each time."""
    for seed in range(1_000):
        rng = random.Random(seed)
        clock = HybridClock(OFFSET)
        mono, wrong = 0, rng.choice((0, 0, 3_600 * SECOND, -3_600 * SECOND, 400 * MILLISECOND))
        shown: dict[str, tuple[int, int]] = {}
        watched = list("bcd")
        before = greatest = 0
        for _ in range(50):
            mono += rng.randrange(50 * MILLISECOND)
            now = Instant(mono, START + mono + wrong)
            match rng.randrange(6):
                case 0:
                    name, error = rng.choice(watched), rng.choice((0, 0, 20, -20, 10**9))
                    there = (START + mono) // MILLISECOND + error
                    clock.shown(name, there, now)
                    shown[name] = (there, mono)
                case 1:
                    merged = stamp_of(START + mono) + rng.randrange(1 << 20)
                    clock.merge(merged)
                    greatest = max(greatest, merged)
                case 2:
                    watched = rng.sample("bcd", rng.randint(1, 3))
                    clock.watch(watched)
                    shown = {n: at for n, at in shown.items() if n in watched}
                case 3:
                    before = clock.now
                    clock.restart(greatest)
                    assert clock.now > max(before, greatest)
                    greatest = clock.now
                case _:
                    stamp = clock.tick(now) if rng.random() < 0.5 else clock.read(now)
                    bound = now.wall if not shown else min(now.wall, limit_of(now.wall, shown, mono))
                    assert stamp in (max(greatest, stamp_of(bound)), max(greatest, stamp_of(bound)) + 1), f"seed {seed}"
                    greatest = stamp
            assert clock.now == greatest >= before, f"seed {seed}"
            before = clock.now


def test_ticks_are_distinct_and_grow_though_time_stands_still() -> None:
    clock, now = HybridClock(OFFSET), Instant(0, START)
    stamps = [clock.tick(now) for _ in range(100_000)]
    assert stamps == sorted(set(stamps)), "the counter carries into the milliseconds"
    assert wall_ms(stamps[-1]) - START // MILLISECOND <= 2


def test_a_stamp_beyond_twice_the_bound_is_ahead_and_one_within_it_is_not() -> None:
    """SCENARIOS 26."""
    clock, now = HybridClock(OFFSET), Instant(0, START)
    clock.read(now)
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
            for other in names:
                if n != other:
                    clocks[n].shown(other, at(other, 0).wall // MILLISECOND, at(n, 0))
        for mono in range(0, SECOND, 100 * MILLISECOND):
            sender = rng.choice(names)
            stamp = clocks[sender].tick(at(sender, mono))
            for n in names:
                assert not clocks[n].is_ahead(stamp, at(n, mono)), f"seed {seed}"
                clocks[n].merge(stamp)
