"""The public errors.  Each says what happened, whether it took effect, and what to do.

Two families matter to a caller who thinks about retrying: `NotHappened` (it has not taken effect and never will) and
`OutcomeUnknown` (it may have taken effect, may still, or may never).
"""

from typing import Any


class PhalanxError(Exception):
    """Every error that Phalanx raises on purpose."""


class NotHappened(PhalanxError):
    """The operation has not taken effect and never will: it is safe to try again."""


class OutcomeUnknown(PhalanxError):
    """The operation may have taken effect, may still, or may never.  Read the state before you try again, or resend it
    within its session, which makes the retry exactly-once."""


class Unavailable(NotHappened):
    """Nobody who can serve the operation was reached in time; nothing was sent that could still take effect."""


class Closed(Unavailable):
    """The client, process or channel that was asked has been closed: nothing was sent, and nothing ever will be by it.
    Whoever tries again needs a new one."""


class Refused(NotHappened):
    """The cluster refuses: the name is in use, the contract differs, a limit is reached, ... The text says which."""


class WrongArguments(Refused, TypeError):
    """An argument is not of the type that the method's annotation says, or its class does not take the value.  The text
    says which, and what was expected.  It has not happened."""


class UpgradePending(Refused):
    """The replicated object still runs a former version of the caller's class, which has no such operation, or has it
    with other types.  It has not happened; call again when all hosts run the new code, and the object with them."""


class Outdated(Refused):
    """The replicated object runs a later version of the caller's class, in which the operation is gone, or has other
    types.  It has not happened; the caller needs the newer class.  Operations that are still there go on working."""


class WrongCluster(NotHappened):
    """All nodes at a client's endpoints are of another cluster than the one that it was served by so far, or that its
    program named (`connect(cluster=...)`): that was founded anew, perhaps by a node that lost its data, or addresses are
    wrong.  Nothing has happened.  What the client knows of the first cluster (revisions, locks, leases) means nothing in
    the other; whoever wants that one connects anew."""


class ClusterRecovered(NotHappened):
    """An operator had the cluster go on with what one of its nodes knew (`phalanx recover`): what this client did or was
    told before may be lost, and its session is.  Nothing has happened by this call.  It is raised once, of all calls that
    were under way; later ones are served by the recovered cluster.  Read the state anew: revisions of before are
    `Compacted`, and leases and locks of before are lost."""


class TooLarge(NotHappened):
    """A message, value or key, or the result of a query, exceeds a named limit."""


class Quota(NotHappened):
    """A store is full, or a table of it is: the text says which limit.  Nothing has changed."""


class StorageFull(NotHappened):
    """The disks of a durable group's hosts have no room for more, and too few hosts can take its writes without them: the
    text names the nodes.  Nothing has changed.  Reads go on, and so does what frees space (deletes, compaction); writes
    do, by themselves, once there is room again."""


class Compacted(NotHappened):
    """A revision is not known any more: the store's history begins later.

    asked: the revision that was asked for.  oldest: the least that can be asked for now.
    """

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(asked, oldest)
        self.asked = asked
        self.oldest = oldest

    def __str__(self) -> str:
        return f"revision {self.asked} was compacted; the history begins at revision {self.oldest}"


class DamagedBackup(NotHappened):
    """A backup is damaged, was cut short, or is none: the text says at which byte.  Nothing was restored from it."""


class RepliesMissing(PhalanxError):
    """A group call was delivered to all hosts of its troupe, each of which executes it, and fewer answered than were
    asked for.  So it has happened, or is happening: calling again is a second call.

    values, errors: what the hosts that did answer returned and raised, by name.
    """

    def __init__(self, text: str, values: dict[str, Any] | None = None, errors: dict[str, Exception] | None = None):
        super().__init__(text)
        self.values = values or {}
        self.errors = errors or {}


class NoMajority(RepliesMissing):
    """A group call was executed, and no result is that of more than half of the hosts."""


class StateLost(PhalanxError):
    """All processes that held the group's state failed, and the group began anew with an empty one.  Raised by the
    iteration of a group whose state the program keeps: it drops what it has, and iterates again; and by a watch."""


class RestartStopped(PhalanxError):
    """A rolling restart was stopped: the text says what was waited for in vain.

    restarted: the members that were restarted and are back.  The one that was restarted last may be neither.
    """

    def __init__(self, text: str, restarted: tuple[str, ...]) -> None:
        super().__init__(f"{text}; restarted so far: {', '.join(restarted) or 'nobody'}")
        self.restarted = restarted


class TooFarBehind(PhalanxError):
    """A multicast channel cannot deliver what follows of a sender: this process was too far behind, and the sender keeps
    it no more, or has fallen silent.  Whoever iterates on goes on behind the gap.

    sender: its name.  fragments: how much is lost, in datagrams.
    """

    def __init__(self, sender: str, fragments: int) -> None:
        super().__init__(sender, fragments)
        self.sender = sender
        self.fragments = fragments

    def __str__(self) -> str:
        return (
            f"{self.fragments} datagrams of {self.sender} are lost: this process was too far behind, or it fell silent"
        )


class LeaseLost(PhalanxError):
    """A lease has expired or was revoked, and its keys are gone.  An operation that raises this has changed nothing; a
    block that is left with it was held under the lease, and cancelled."""


class Fenced(NotHappened):
    """Somebody else holds by now what this caller once held: its write was refused and has changed nothing."""


class Diverged(PhalanxError):
    """Replicas of a deterministic object disagree on their state; the text names the replicas and the position."""


class ClusterSuperseded(PhalanxError):
    """The cluster of this node's data was recovered by its operator as another one, without this node: it must not vote
    any more.  Its data are as they were; move them away, and start it as a new node."""


class ConfigurationError(PhalanxError, ValueError):
    """An argument, option or file makes no sense; nothing was started."""


class DataDirectoryInUse(ConfigurationError):
    """Another process works in this data directory, or this one has opened it before; nothing was started."""


class DamagedVoteFile(PhalanxError):
    """The vote file of a data directory exists, but no record in it is whole.  What this node has promised is unknown, so
    it must not answer in its old identity: remove its data directory and let it join as a new one."""
