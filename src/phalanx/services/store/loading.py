"""A backup that is being loaded into an empty store: a store in the making, which nobody sees until it is whole.

It comes in steps (`values.LoadStep`), each a command: `Begin`, leases, keys, `Finish`.  They build an index and a table
of leases beside those of the store, and `Finish` puts them in their place, which costs the same whatever there is in
them.  So a store that is being restored answers as the empty one that it is, and from one command to the next as what was
backed up: no command waits, none sees a part, and a load that is given up leaves nothing behind.  Who writes to the store
meanwhile ends the load, for its writes were acknowledged.

What is kept: keys, values, revisions, versions, leases with their ids and keys.  The history begins at the revision of
the backup.  Leases get their whole length anew when the load is finished, since nobody could keep them alive meanwhile
(see `leases`).  Fencing tokens go on from the clock of the new group, or from the last one of the backup if that is ahead
of it, so they are greater than all before the backup, and than those that the store that was backed up gave out since,
as those of a group that was lost and founded anew are.  (Its revisions do: the client has the backup begin at one that is
ahead by `limits.REVISIONS_AHEAD`, unless it is told that nothing was written since.)

A store that an operator recovered while nothing was in it is empty as well, but others may have written to it in the time
that is lost.  It stands at a revision beyond all that they can have been given (`KV.recovered`), its `floor`, and what is
loaded into it is moved beyond that, with the revisions of its keys: none is given out for a second thing.

Every step is checked against the rules that commands keep, since a file comes from outside.  Passive.
"""

from typing import assert_never

import msgspec

from phalanx.errors import Quota, Refused, TooLarge
from phalanx.model.replicated import Context
from phalanx.services.store import limits
from phalanx.services.store.index import Index
from phalanx.services.store.leases import Lease, Leases
from phalanx.services.store.values import Abandon, Begin, Finish, LeaseInfo, LoadKeys, LoadLeases, Versioned

_encode = msgspec.msgpack.Encoder().encode


class Loading:
    """See the module's text.  `id` is a fencing token: that of the command that began it.  `floor`: the revision of the
    empty store.  Raises `Refused` if `begin` is nothing that a store could have been, or that cannot be moved so far."""

    def __init__(self, number: int, begin: Begin, floor: int) -> None:
        if not (0 <= begin.revision <= limits.REVISION_MAX - floor and begin.origin >= 0 and begin.retain_ms >= 0):
            raise Refused("no store was ever at such a revision, or had such settings")
        self._floor = floor
        revision = floor + begin.revision
        self.id = number
        self.begin = begin
        self.is_over = False
        self.index = Index()
        self.index.begin_restoring(revision, revision, revision)
        self.leases = Leases()

    def origin(self, token: int) -> int:
        """Of the fencing tokens of the store, for one that is shown by a command with that token."""
        return max(token, self.begin.origin + 1)

    def take(self, step: LoadLeases | LoadKeys | Finish | Abandon, context: Context) -> bool:
        """The next step; whether the store is whole now.  Raises `Refused`, `TooLarge` and `Quota`, and has changed
        nothing then."""
        match step:
            case LoadLeases(_, leases):
                self._take_leases(leases)
            case LoadKeys(_, items):
                self._take_keys(items)
            case Finish(_, leases, keys):
                if (len(self.leases), len(self.index)) != (leases, keys):
                    there = f"{len(self.leases)} leases and {len(self.index)} keys"
                    raise Refused(f"{there} were loaded, but there should be {leases} and {keys}: begin again")
                self.leases.begin_restoring(0, context.time_ms, context.steady_ms)
                self.is_over = True
                return True
            case Abandon():
                self.is_over = True
            case other:
                assert_never(other)
        return False

    def _take_leases(self, leases: list[LeaseInfo]) -> None:
        if len(leases) > limits.LOAD_ITEMS_MAX:
            raise TooLarge(f"{len(leases)} leases in one step; the limit is {limits.LOAD_ITEMS_MAX}")
        if len(self.leases) + len(leases) > limits.LEASES_MAX:
            raise Quota(f"more than {limits.LEASES_MAX} leases, which is the limit")
        if leases and len(self.index):
            raise Refused("leases are loaded before keys")
        known = self.leases.leases()
        last = known[-1].id if known else 0
        for lease in leases:
            if not last < lease.id < self.id:
                raise Refused(f"lease {lease.id} is out of order, or beyond the clock of this group: try again later")
            if not limits.TTL_MS_LEAST <= lease.ttl_ms <= limits.TTL_MS_MOST:
                raise Refused(f"no lease lasts {lease.ttl_ms} ms")
            last = lease.id
        self.leases.restore([Lease(lease.id, lease.ttl_ms, lease.ttl_ms) for lease in leases])

    def _take_keys(self, items: list[tuple[bytes, Versioned]]) -> None:
        size = sum(len(key) + len(item.value) for key, item in items)
        if len(items) > limits.LOAD_ITEMS_MAX or (len(items) > 1 and size > limits.LOAD_BYTES_MAX):
            raise TooLarge(f"{len(items)} keys with {size} bytes are too many for one step")
        if len(self.index) + len(items) > limits.KEYS_MAX or self.index.bytes + size > limits.STORE_BYTES_MAX:
            raise Quota("what was backed up exceeds the limits of a store")
        last, of_lease = self.index.last, dict[int, int]()
        for key, item in items:
            if last is not None and key <= last:
                raise Refused(f"key {key!r} is out of order")
            if len(key) > limits.KEY_BYTES_MAX or len(item.value) > limits.VALUE_BYTES_MAX:
                raise TooLarge(f"key {key[:100]!r} or its value exceeds the limits of a store")
            if not 1 <= item.created <= item.modified <= self.begin.revision:
                raise Refused(f"key {key!r} has revisions that are not of the backup")
            if not 1 <= item.version <= item.modified - item.created + 1:
                raise Refused(f"key {key!r} cannot have version {item.version}")
            if item.lease:
                count = of_lease.get(item.lease) or self.leases.count(item.lease)
                if item.lease not in self.leases or count >= limits.LEASE_KEYS_MAX:
                    raise Refused(f"key {key!r} is under lease {item.lease}, which is unknown or has too many keys")
                of_lease[item.lease] = count + 1
            last = key
        self.index.restore_live(items if not self._floor else [(key, self._moved(item)) for key, item in items])
        for key, item in items:
            self.leases.attach(key, item.lease)

    def _moved(self, item: Versioned) -> Versioned:
        created, modified = item.created + self._floor, item.modified + self._floor
        return Versioned(item.value, created, modified, item.version, item.lease)

    def digest(self) -> bytes:
        """Equal for equal ones."""
        return _encode((self.id, self.begin)) + self.index.digest() + self.leases.digest()
