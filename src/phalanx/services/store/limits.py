"""The store's limits.  They are the same at every host of one version of the code, since all must judge alike."""

from typing import Final

KEY_BYTES_MAX: Final = 4_096
"""A key is a name, and kept in memory by every host."""

VALUE_BYTES_MAX: Final = 512 << 10
"""A value travels in one frame with room to spare."""

KEYS_MAX = 10_000_000
"""Present keys: each costs some hundred bytes besides its own, at every host."""

STORE_BYTES_MAX = 1 << 30
"""Present keys and values together: what every host is ready to keep in memory and to transfer."""

HISTORY_EVENTS_MAX = 100_000
"""Changes that are remembered.  Beyond it the oldest are compacted by themselves."""

HISTORY_BYTES_MAX = 128 << 20
"""Keys and superseded values of the history together.  Beyond it the oldest are compacted by themselves."""

HISTORY_MS = 3_600_000
"""Age beyond which changes are compacted by themselves, unless `KV.retain` says otherwise."""

RANGE_ITEMS_MAX = 1_000
RANGE_BYTES_MAX = 1 << 20
"""A range answers no more than so many items and bytes (but at least one item), and says that there is more."""

DELETE_KEYS_MAX = 10_000
"""Keys that one operation removes, so that it takes milliseconds and not seconds of every host's time."""

TXN_OPERATIONS_MAX = 128
"""Compares, and operations of each branch, of one transaction (etcd's default)."""

TXN_SCANS_MAX = 4
"""Scans in each branch: each may answer `RANGE_BYTES_MAX`."""

TXN_BYTES_MAX = 4 << 20
"""What the reads of one transaction may answer in all: the answer travels in one frame and is kept in its session."""

LEASES_MAX = 100_000
"""Leases at a time."""

LEASE_KEYS_MAX = 10_000
"""Keys of one lease: they go in one revision."""

TTL_MS_LEAST = 1_000
"""A shorter lease could not outlast an ordinary change of views."""

TTL_MS_MOST = 86_400_000
"""A day: what lives longer is no sign of life."""

FEED_EVENTS_MAX = 1_000
FEED_BYTES_MAX = 64 << 10
"""A batch of a watch has no more than so many events and bytes (but at least one event)."""

LOAD_ITEMS_MAX = 1_000
LOAD_BYTES_MAX = 256 << 10
"""One step of loading a backup has no more than so many leases, or keys, and bytes (but at least one key): it is a
command, and takes a few milliseconds of every host's time."""

REVISIONS_AHEAD = 1 << 36
"""After a recovery or a restoration by which changes may be lost, more revisions than these can have made: so many that
none is given out twice (65,536 a second for twelve days)."""

REVISION_MAX = 1 << 42
"""Of a backup.  No store comes so far, and positions beyond would not fit into an integer that travels."""
