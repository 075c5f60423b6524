"""Phalanx for programs without asyncio: the same client, store, watches, leases, recipes and objects, for threads.

    with phalanx.sync.connect("host:port") as client:
        store = client.kv()
        store.put(b"color", b"red")
        with recipes.lock(store, b"door") as held: ...

Each `connect` has one background thread, on whose event loop the asynchronous client runs; that is the whole difference.
Deadlines, guarantees and errors are those of the asynchronous methods of the same names.
"""

from phalanx.sync import recipes
from phalanx.sync.background import Block
from phalanx.sync.client import Client, Cluster, Replicated, connect, local
from phalanx.sync.store import Lease, Store, Watch

__all__ = [
    "Block",
    "Client",
    "Cluster",
    "Lease",
    "Replicated",
    "Store",
    "Watch",
    "connect",
    "local",
    "recipes",
]
