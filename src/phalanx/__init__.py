"""Phalanx: fault-tolerant process groups for Python.

join      be a process of a cluster: groups, replicated objects
connect   be a client of one
channel   multicast to any number of processes, over UDP
local     a whole cluster inside this program, for tests and notebooks
"""

if not __debug__:
    raise ImportError(
        "phalanx refuses to run without assertions (python -O, PYTHONOPTIMIZE): they guard its invariants"
    )

from phalanx.runtime.compiled import find_sources_only, is_source_wanted

if is_source_wanted():  # before anything is imported that may be compiled
    find_sources_only()

from phalanx.api import recipes
from phalanx.api.backup.format import Backup
from phalanx.api.channel import Channel, Heard, channel
from phalanx.api.client import Client, Replicated, connect
from phalanx.api.events import Changed, Excluded, Founded, Lost, Message, Recovered, Restored
from phalanx.api.groups import Group
from phalanx.api.hosted import Hosted
from phalanx.api.joining import join
from phalanx.api.lease import Lease
from phalanx.api.local import Cluster, local
from phalanx.api.process import Process
from phalanx.api.rolling import rolling_restart
from phalanx.api.store import Store
from phalanx.api.tls import TLS
from phalanx.api.troupes import Replies, Troupe
from phalanx.api.watch import Watch
from phalanx.errors import (
    Closed,
    ClusterRecovered,
    ClusterSuperseded,
    Compacted,
    ConfigurationError,
    DamagedBackup,
    DamagedVoteFile,
    DataDirectoryInUse,
    Diverged,
    Fenced,
    LeaseLost,
    NoMajority,
    NotHappened,
    OutcomeUnknown,
    Outdated,
    PhalanxError,
    Quota,
    Refused,
    RepliesMissing,
    RestartStopped,
    StateLost,
    StorageFull,
    TooFarBehind,
    TooLarge,
    Unavailable,
    UpgradePending,
    WrongArguments,
    WrongCluster,
)
from phalanx.group.config import Limits, Timing
from phalanx.model.globalstate import GlobalState
from phalanx.model.procedures import procedure
from phalanx.model.replicated import OUTSIDE, CommandFailed, Context, Sliced, command, query, version
from phalanx.model.view import Member, Order, View
from phalanx.multicast.config import ChannelLimits, ChannelTiming
from phalanx.node.status import Status
from phalanx.runtime.loop import run
from phalanx.services.store import values as txn
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Event, Versioned

__version__ = "0.1.0"

__all__ = [
    "KV",
    "OUTSIDE",
    "TLS",
    "Backup",
    "Changed",
    "Channel",
    "ChannelLimits",
    "ChannelTiming",
    "Client",
    "Closed",
    "Cluster",
    "ClusterRecovered",
    "ClusterSuperseded",
    "CommandFailed",
    "Compacted",
    "ConfigurationError",
    "Context",
    "DamagedBackup",
    "DamagedVoteFile",
    "DataDirectoryInUse",
    "Diverged",
    "Event",
    "Excluded",
    "Fenced",
    "Founded",
    "GlobalState",
    "Group",
    "Heard",
    "Hosted",
    "Lease",
    "LeaseLost",
    "Limits",
    "Lost",
    "Member",
    "Message",
    "NoMajority",
    "NotHappened",
    "Order",
    "OutcomeUnknown",
    "Outdated",
    "PhalanxError",
    "Process",
    "Quota",
    "Recovered",
    "Refused",
    "Replicated",
    "Replies",
    "RepliesMissing",
    "RestartStopped",
    "Restored",
    "Sliced",
    "StateLost",
    "Status",
    "StorageFull",
    "Store",
    "Timing",
    "TooFarBehind",
    "TooLarge",
    "Troupe",
    "Unavailable",
    "UpgradePending",
    "Versioned",
    "View",
    "Watch",
    "WrongArguments",
    "WrongCluster",
    "channel",
    "command",
    "connect",
    "join",
    "local",
    "procedure",
    "query",
    "recipes",
    "rolling_restart",
    "run",
    "txn",
    "version",
]
