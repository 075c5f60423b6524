"""Who is here, with what each says of itself; and settings that everybody follows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from phalanx.api.arguments import bytes_of
from phalanx.api.lease import TTL_S, Lease
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import Held, following, snapshot, states
from phalanx.api.recipes.terms import Holding
from phalanx.api.store import Store
from phalanx.errors import Refused
from phalanx.services.store.values import Delete, Exists, Operation, Put, Versioned, Written


class Member(NamedTuple):
    """One who is here.  `since`: the revision of its coming, which tells it from an earlier one of that name."""

    data: bytes
    since: int


class Membership(Held):
    """One's own place.  Made by `membership`."""

    @takes_bytes
    async def update(self, data: bytes) -> None:
        """Say something else of oneself.  Raises `Fenced` if one is not a member any more."""
        await self.transact([Put(self.key, data, self.lease.id)])


@takes_bytes
def membership(
    store: Store, name: bytes, me: bytes, data: bytes = b"", *, ttl_s: float = TTL_S, cancels: bool = True
) -> Holding[Membership]:
    """Be a member of the group of that name, under the name `me`, while the block runs; by `terms` again after a loss.

    data: what others see, such as an address.  Raises `Refused` if there is a member `me`: one that died is gone
    after its `ttl_s`.
    """

    @asynccontextmanager
    async def hold(lease: Lease) -> AsyncIterator[Membership]:
        yield await join(store, lease, name, me, data)

    return Holding(store, ttl_s, cancels, hold)


async def join(store: Store, lease: Lease, name: bytes, me: bytes, data: bytes) -> Membership:
    """Become a member under a lease of one's own.  Raises as `membership`."""
    key = name + b"/" + me
    done = await store.transact([Exists(key, False)], [Put(key, data, lease.id)])
    if not done.succeeded:
        raise Refused(f"{name!r} has a member {me!r}")
    [written] = done.results
    assert isinstance(written, Written)
    lease.stands_with(key, written.created)
    return Membership(store, lease, key, written.created, done.token)


@takes_bytes
def watch_members(store: Store, name: bytes) -> AbstractAsyncContextManager[AsyncIterator[dict[bytes, Member]]]:
    """The members by name, now and whenever somebody comes, goes, or says something else.

    async with recipes.watch_members(store, b"workers") as changes:
        async for members in changes: ...
    """
    return following(_members(store, name + b"/"))


async def _members(store: Store, prefix: bytes) -> AsyncIterator[dict[bytes, Member]]:
    async with following(states(store, prefix)) as changes:
        async for items in changes:
            yield {key[len(prefix) :]: Member(item.value, item.created) for key, item in sorted(items.items())}


class Config:
    """Settings that many read and follow."""

    def __repr__(self) -> str:
        return f"<phalanx.recipes.{type(self).__name__} {self._prefix!r}>"

    @takes_bytes
    def __init__(self, store: Store, name: bytes) -> None:
        self._store = store
        self._prefix = name + b"/"

    async def read(self) -> dict[bytes, bytes]:
        """All settings, at one instant."""
        return self._settings((await snapshot(self._store, self._prefix))[0])

    async def change(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Set these, and remove those that are None: all at once, so nobody sees a part of it.

        Raises as a transaction does, and `TypeError` for what is no mapping of bytes to bytes.
        """
        if not isinstance(changes, Mapping):
            raise TypeError(f"changes are a mapping of names to values, not {type(changes).__name__}")
        operations: list[Operation] = []
        for name, value in changes.items():
            key = self._prefix + bytes_of(name, "the name of a setting")
            if value is not None:
                bytes_of(value, f"setting {name!r}")
            operations.append(Delete(key) if value is None else Put(key, value))
        await self._store.transact((), operations)

    def follow(self) -> AbstractAsyncContextManager[AsyncIterator[dict[bytes, bytes]]]:
        """All settings, now and after each change.

        async with config.follow() as changes:
            async for settings in changes: ...
        """
        return following(self._follow())

    async def _follow(self) -> AsyncIterator[dict[bytes, bytes]]:
        async with following(states(self._store, self._prefix)) as changes:
            async for items in changes:
                yield self._settings(items)

    def _settings(self, items: dict[bytes, Versioned]) -> dict[bytes, bytes]:
        return {key[len(self._prefix) :]: item.value for key, item in sorted(items.items())}
