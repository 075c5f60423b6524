"""Leases: what lives only as long as somebody says so.  Passive and deterministic; part of the replicated state.

*Lease time* is made of the stamps of ordered messages: no replica's clock is asked.  A gap between two that are looked at
counts as at most a third of what the lease that expires next has left (but as up to `STEP_MS` in any case), since a group
that ordered nothing (it lost its quorum, or changed views) gave nobody the chance to keep a lease alive: an outage alone
ends none.  What passes from one view to the next does not count at all: nodes that come back bring clocks that run ahead
(`Context.steady_ms`).  So lease time may lag behind real time and does not lead it, as far as the members' clocks agree,
and a holder that counts by its own clock from when it asked gives up before the store does.

For time to pass while nothing else is ordered, the store declares `due_ms`, and a host orders a tick (`replication`).

Sources: Gray and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency" (1989);
Burrows, "The Chubby Lock Service" (2006), section 2.8, for the grace that a failover gives to holders.
"""

import msgspec
from sortedcontainers import SortedList
from xxhash import xxh3_128_intdigest

from phalanx.services.store.values import LeaseInfo

_encode = msgspec.msgpack.Encoder().encode

STEP_MS = 500
"""A gap of up to this always counts in full: what remains of a lease is halved at best by each step, and must end."""


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """One lease; `expires_ms` is in lease time.  Never changed: one that is kept alive is replaced."""

    id: int
    ttl_ms: int
    expires_ms: int


class Leases:
    """See the module's text."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._stamped_ms = 0
        self._steady_ms = 0
        self._by_id: dict[int, Lease] = {}
        self._keys: dict[int, set[bytes]] = {}
        self._order: SortedList[tuple[int, int]] = SortedList()
        self._sum = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, lease_id: int) -> bool:
        return lease_id in self._by_id

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def due_ms(self) -> int | None:
        """The ordered time, in milliseconds since the epoch, from which on `advance` is to be called; None: never."""
        return self._stamped_ms + max(1, self._step()) if self._order else None

    def _step(self) -> int:
        """How much the next gap counts at most."""
        remaining: int = self._order[0][0] - self._now_ms
        return min(remaining, max(STEP_MS, remaining // 3))

    def advance(self, stamped_ms: int, steady_ms: int) -> list[int]:
        """A message with this time was ordered, and with this one of `Context.steady_ms`.  The leases that have expired,
        in the order in which they did: the caller drops each."""
        if stamped_ms <= self._stamped_ms:
            return []
        gap = max(0, steady_ms - self._steady_ms)
        self._stamped_ms, self._steady_ms = stamped_ms, max(steady_ms, self._steady_ms)
        if not self._order:
            return []
        self._now_ms += min(gap, self._step())
        expired = []
        for expires_ms, lease_id in self._order:
            if expires_ms > self._now_ms:
                break
            expired.append(lease_id)
        return expired

    # --- leases ---------------------------------------------------------------------------------------------------

    def grant(self, lease_id: int, ttl_ms: int) -> None:
        """A new lease of that length from now."""
        assert lease_id not in self._by_id
        self._insert(Lease(lease_id, ttl_ms, self._now_ms + ttl_ms))
        self._keys[lease_id] = set()

    def keep(self, lease_id: int) -> None:
        """It lives its whole length from now again."""
        lease = self._remove(lease_id)
        self._insert(Lease(lease_id, lease.ttl_ms, self._now_ms + lease.ttl_ms))

    def drop(self, lease_id: int) -> list[bytes]:
        """Forget the lease; its keys, in order."""
        self._remove(lease_id)
        return sorted(self._keys.pop(lease_id))

    def info(self, lease_id: int) -> LeaseInfo | None:
        """None if it is unknown."""
        lease = self._by_id.get(lease_id)
        return None if lease is None else LeaseInfo(lease.id, lease.ttl_ms, max(0, lease.expires_ms - self._now_ms))

    def ids(self) -> list[int]:
        """All leases, oldest first."""
        return sorted(self._by_id)

    def _insert(self, lease: Lease) -> None:
        self._by_id[lease.id] = lease
        self._order.add((lease.expires_ms, lease.id))
        self._sum += _hash(lease)

    def _remove(self, lease_id: int) -> Lease:
        lease = self._by_id.pop(lease_id)
        self._order.remove((lease.expires_ms, lease_id))
        self._sum -= _hash(lease)
        return lease

    # --- keys -----------------------------------------------------------------------------------------------------

    def keys(self, lease_id: int) -> list[bytes]:
        """The keys of a lease, in order; none of one that is unknown."""
        return sorted(self._keys.get(lease_id, ()))

    def count(self, lease_id: int) -> int:
        """How many keys a lease has."""
        return len(self._keys.get(lease_id, ()))

    def attach(self, key: bytes, lease_id: int) -> None:
        """The key goes with the lease.  0 is no lease."""
        if lease_id:
            self._keys[lease_id].add(key)

    def detach(self, key: bytes, lease_id: int) -> None:
        """It does not any more.  The lease may be one that is just being dropped."""
        if lease_id in self._keys:
            self._keys[lease_id].discard(key)

    # --- state ----------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> tuple[int, int, int]:
        """Lease time now, and both times of the last ordered message that was looked at; in milliseconds."""
        return self._now_ms, self._stamped_ms, self._steady_ms

    def leases(self) -> list[Lease]:
        """All of them, in an order that a restoration keeps.  Which keys they have, the keys say."""
        return list(self._by_id.values())

    def begin_restoring(self, now_ms: int, stamped_ms: int, steady_ms: int) -> None:
        """These leases, which are none yet, are to become those that had this `clock`."""
        self._now_ms, self._stamped_ms, self._steady_ms = now_ms, stamped_ms, steady_ms

    def restore(self, leases: list[Lease]) -> None:
        """Some of `leases`, in that order."""
        for lease in leases:
            self._insert(lease)
            self._keys[lease.id] = set()

    def orphaned(self) -> tuple["Leases", dict[int, int]]:
        """The same leases and keys under ids that nobody knows, so that nobody can keep them alive, each with its whole
        length to go; and which id each has now."""
        orphans = Leases()
        orphans.begin_restoring(*self.clock)
        ids = {lease: number for number, lease in enumerate(self.ids(), 1)}
        for lease, number in ids.items():
            ttl_ms = self._by_id[lease].ttl_ms
            orphans._insert(Lease(number, ttl_ms, self._now_ms + ttl_ms))
            orphans._keys[number] = self._keys[lease].copy()
        return orphans, ids

    def digest(self) -> bytes:
        """Equal for equal tables.  O(1)."""
        return b"".join(n.to_bytes(24, "big") for n in (*self.clock, self._sum))


def _hash(lease: Lease) -> int:
    return xxh3_128_intdigest(_encode(lease))
