"""Interests against an obviously right search."""

import random

from phalanx.replication.interests import Interests

KEYS = [b"", b"a", b"a\0", b"ab", b"b", b"c", b"\xff"]


def test_interests_agree_with_a_search_through_all() -> None:
    for seed in range(500):
        rng = random.Random(seed)
        interests = Interests()
        plain: dict[int, tuple[bytes, bytes | None]] = {}
        for number in range(rng.randrange(12)):
            start = rng.choice(KEYS)
            end = rng.choice([None, start + b"\0", start + b"\0", *KEYS])
            plain[number] = (start, end)
            interests.add(number, start, end)
        for number in rng.sample(sorted(plain), len(plain) // 3):
            interests.remove(number, *plain.pop(number))
        keys = set(rng.sample(KEYS, rng.randrange(4)))
        expected = [
            number
            for number, (start, end) in plain.items()
            if any(start <= key and (end is None or key < end) for key in keys)
        ]
        assert interests.of(keys) == expected
        assert len(interests) == len(plain)
