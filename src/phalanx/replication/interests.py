"""Who wants to know of which keys.  Passive.

Most watches are of one key: they are found by a dictionary.  Ranges are looked through, each different one once, however
many share it.
"""

from collections.abc import Iterable

Range = tuple[bytes, bytes | None]


class Interests:
    """Sets of numbers by the ranges of keys that they stand for; a range ends before its `end` (None: never)."""

    def __init__(self) -> None:
        self._keys: dict[bytes, set[int]] = {}
        self._ranges: dict[Range, set[int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._keys.values())) + sum(map(len, self._ranges.values()))

    def add(self, number: int, start: bytes, end: bytes | None) -> None:
        """That number wants to know of that range."""
        if end == start + b"\0":
            self._keys.setdefault(start, set()).add(number)
        else:
            self._ranges.setdefault((start, end), set()).add(number)

    def remove(self, number: int, start: bytes, end: bytes | None) -> None:
        """It does not any more; it did."""
        if end == start + b"\0":
            self._keys[start].remove(number)
            if not self._keys[start]:
                del self._keys[start]
        else:
            self._ranges[start, end].remove(number)
            if not self._ranges[start, end]:
                del self._ranges[start, end]

    def of(self, keys: Iterable[bytes]) -> list[int]:
        """All numbers that want to know of one of the keys, in order."""
        found: set[int] = set()
        touched = sorted(keys)
        for key in touched:
            found |= self._keys.get(key, frozenset())
        if touched:
            for (start, end), numbers in self._ranges.items():
                if touched[-1] >= start and any(key >= start and (end is None or key < end) for key in touched):
                    found |= numbers
        return sorted(found)
