"""Recipes of coordination on the store: locks, elections, barriers, queues, counters, membership, partitions.

Whatever is held is held under a lease.  Each block that holds something gets a *fencing token*, greater than that of
every earlier holder, and is cancelled when its lease is lost, with `LeaseLost`.  A paused process may still run a
moment too long, as with every lock service: so give the token to what you protect, or write through `Held.transact`,
which the store refuses with `Fenced` once somebody else may hold.  Who is to take its place again after a loss holds it
by `terms`.

Names are prefixes of keys: two recipes must not have the same name, nor one that begins with another's and a slash.
"""

from phalanx.api.recipes.barriers import barrier, double_barrier, pass_barrier
from phalanx.api.recipes.elections import Leader, lead, observe
from phalanx.api.recipes.line import Held
from phalanx.api.recipes.locks import lock, read_lock, semaphore, write_lock
from phalanx.api.recipes.members import Config, Member, Membership, membership, watch_members
from phalanx.api.recipes.numbers import Counter, UniqueIds
from phalanx.api.recipes.partitions import Share, partition
from phalanx.api.recipes.queues import Claim, PriorityQueue, Queue
from phalanx.api.recipes.terms import Holding, Term

__all__ = [
    "Claim",
    "Config",
    "Counter",
    "Held",
    "Holding",
    "Leader",
    "Member",
    "Membership",
    "PriorityQueue",
    "Queue",
    "Share",
    "Term",
    "UniqueIds",
    "barrier",
    "double_barrier",
    "lead",
    "lock",
    "membership",
    "observe",
    "partition",
    "pass_barrier",
    "read_lock",
    "semaphore",
    "watch_members",
    "write_lock",
]
