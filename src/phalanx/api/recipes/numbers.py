"""Counters and unique ids."""

from collections.abc import AsyncIterator

from phalanx.api.arguments import number_of
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.store import Store
from phalanx.errors import Refused
from phalanx.services.store.values import Found, Get, Modified, Put, Txn, Versioned


def _number(key: bytes, item: Versioned | None) -> int:
    """What a key holds; 0 if it is absent.  Raises `Refused` if that is no number."""
    if item is None:
        return 0
    try:
        return int(item.value)
    except ValueError:
        raise Refused(f"{key!r} holds no number: {item.value[:20]!r}") from None


async def add(store: Store, key: bytes, amount: int) -> tuple[int, int]:
    """Add to the number at a key, which is 0 if it is absent, in one step; the number before and after.

    Tried again as long as others come between, and each try happens once: an error that is `NotHappened` is no
    addition, and `OutcomeUnknown` may be one.  Raises `Refused` if the key holds no number.
    """
    item = await store.get(key)
    while True:
        before = _number(key, item)
        revision = 0 if item is None else item.modified
        done: Txn = await store.transact(
            [Modified(key, "==", revision)], [Put(key, b"%d" % (before + amount))], [Get(key)]
        )
        if done.succeeded:
            return before, before + amount
        [found] = done.results
        assert isinstance(found, Found)
        item = found.item


class Counter:
    """A number that many add to."""

    def __repr__(self) -> str:
        return f"<phalanx.recipes.{type(self).__name__} {self._key!r}>"

    @takes_bytes
    def __init__(self, store: Store, name: bytes) -> None:
        self._store = store
        self._key = name

    async def value(self) -> int:
        """The number; 0 if nobody has added anything.  Raises `Refused` if the key holds no number."""
        return _number(self._key, await self._store.get(self._key))

    async def add(self, amount: int = 1) -> int:
        """Add, and return the number afterwards.  Exactly once, whatever fails; raises as a transaction does, and
        `TypeError` for what is no whole number."""
        return (await add(self._store, self._key, number_of(amount, "what is added to a counter")))[1]


class UniqueIds:
    """Numbers from 1 on that nobody else of that name ever gets.

        async for number in recipes.UniqueIds(store, b"orders"): ...

    They are taken from the store in blocks, so most cost nothing; what is left of a block when the process ends is
    never used.  Numbers of one block grow, and so do blocks.
    """

    def __repr__(self) -> str:
        return f"<phalanx.recipes.{type(self).__name__} {self._key!r}>"

    @takes_bytes
    def __init__(self, store: Store, name: bytes, *, block: int = 100) -> None:
        self._block = number_of(block, "the size of a block", 1)
        self._store = store
        self._key = name
        self._next = 1
        self._end = 1

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        while self._next >= self._end:  # others may use up what this one fetched
            before, after = await add(self._store, self._key, self._block)
            if self._next >= self._end:
                self._next, self._end = before + 1, after + 1
        self._next += 1
        return self._next - 1
