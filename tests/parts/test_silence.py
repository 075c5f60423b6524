"""parts.silence against a twin that keeps every message it ever heard (DESIGN section 7)."""

import random

from phalanx.model.clock import MILLISECOND
from phalanx.parts.silence import Silence

LIMIT = 500 * MILLISECOND


class Diary:
    """Keeps every gap between two messages of a peer; finds the longest faded one by looking at all of them."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.gaps: dict[str, list[int]] = {}

    def watch(self, names: list[str], now: int) -> None:
        self.last = dict.fromkeys(names, now)
        self.gaps = {name: self.gaps.get(name, []) for name in names}

    def heard(self, name: str, now: int) -> None:
        if name in self.last:
            self.gaps[name].append(now - self.last[name])
            self.last[name] = now

    def excuse(self, pause: int) -> None:
        self.last = {name: at + pause for name, at in self.last.items()}

    def overdue_at(self, name: str) -> int:
        longest = max((gap * 0.98**age for age, gap in enumerate(reversed(self.gaps[name]))), default=0.0)
        return self.last[name] + int(min(max(LIMIT, 2 * longest), 2 * LIMIT))


def test_silence_says_what_a_full_diary_says() -> None:
    for seed in range(1_000):
        rng = random.Random(seed)
        silence, diary = Silence(LIMIT), Diary()
        names, now = list("abcd"), 0
        for _ in range(40):
            now += int(rng.choice((1, 40, 300, 900)) * MILLISECOND * rng.random())
            match rng.randrange(8):
                case 0:
                    watched = rng.sample(names, rng.randint(1, 4))
                    silence.watch(watched, now)
                    diary.watch(watched, now)
                case 1:
                    pause = rng.randrange(400) * MILLISECOND
                    now += pause
                    silence.excuse(pause)
                    diary.excuse(pause)
                case _:
                    name = rng.choice(names)
                    silence.heard(name, now)
                    diary.heard(name, now)
            for name in names:
                if name not in diary.last:
                    assert not silence.is_silent(name, now) and silence.last_heard(name) is None
                    continue
                assert silence.last_heard(name) == diary.last[name], f"seed {seed}"
                assert abs(silence.overdue_at(name) - diary.overdue_at(name)) <= 1, f"seed {seed}"
                assert silence.is_silent(name, now) == (now >= silence.overdue_at(name))


def test_patience_is_never_below_the_limit_nor_above_twice_it() -> None:
    silence = Silence(LIMIT)
    silence.watch(["a"], 0)
    assert silence.overdue_at("a") == LIMIT
    silence.heard("a", 10 * LIMIT)
    assert silence.overdue_at("a") == 12 * LIMIT


def test_patience_fades_with_every_message() -> None:
    silence = Silence(LIMIT)
    silence.watch(["a"], 0)
    silence.heard("a", LIMIT)
    now = LIMIT
    patience = [silence.overdue_at("a") - now]
    for _ in range(60):
        now += MILLISECOND
        silence.heard("a", now)
        patience.append(silence.overdue_at("a") - now)
    assert patience == sorted(patience, reverse=True)
    assert (patience[0], patience[-1]) == (2 * LIMIT, LIMIT)
