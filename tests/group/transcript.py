"""A run of the group core as a text that reads: what each node writes, sends and delivers, turn by turn.

    0.400 b  write    promised 1.a
             send     a  PROMISE 1.a

The first column is virtual milliseconds since the recording began.  What follows a `write` leaves when it is durable;
`send!` does not wait for it.  A node is named by its letter, and by letter and apostrophes in its later lives; a ballot
by its counter and coordinator; stamps are numbered by size (t1 < t2 ...); the group by its name.  The numbers after a
group are by host: the last batch received, or in a cut the last that belongs to the old view.
"""

from collections.abc import Iterator
from typing import Any

from phalanx.group.messages import (
    Accept,
    Accepted,
    Ack,
    Ballot,
    Chunk,
    Commit,
    Cut,
    Data,
    Decision,
    Envelope,
    Fetch,
    Gather,
    Held,
    Nack,
    Prepare,
    Promise,
    Pull,
    Row,
    Votes,
    Wish,
)
from phalanx.model.clock import MILLISECOND, Stamp
from phalanx.model.events import Delivered, Founded, Installed, Restored, SnapshotWanted
from phalanx.model.machine import Output
from phalanx.model.view import GroupId, Member, Name, View
from phalanx.sim.node import Node
from tests.group.cluster import Cluster


class Recorder:
    """Records a cluster from now on.  `rows`: show rows too, where they acknowledge something."""

    def __init__(self, cluster: Cluster, *, rows: bool = False) -> None:
        self._cluster = cluster
        self._rows = rows
        self._begun = cluster.world.now
        self._lines: list[tuple[str, list[Any]]] = []
        self._lives: dict[Name, list[int]] = {}
        self._stamps: set[Stamp] = set()
        self._votes = {n: node.durable or Votes(0) for n, node in cluster.world.nodes.items()}
        self._groups: dict[GroupId, str] = {}
        self._received: dict[Name, Any] = {}
        for view in cluster.views():
            self._meet(view)
        cluster.world.stepped = self._step

    def text(self) -> str:
        """What was recorded so far."""
        order = {stamp: f"t{i}" for i, stamp in enumerate(sorted(self._stamps), start=1)}
        lines = ("".join(order[p] if isinstance(p, int) else p for p in [lead, *parts]) for lead, parts in self._lines)
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def _step(self, node: Node, output: Output) -> None:
        time = f"{(self._cluster.world.now - self._begun) / MILLISECOND:8.3f} {node.name}"
        did = [("send! ", self._sent(s)) for s in output.eager]
        if output.writes:
            did.append(("write ", [self._written(node.name, output.writes[-1])]))
        did += [("send  ", self._sent(s)) for s in output.sends]
        did += [("deliver", self._delivered(d)) for d in output.deliveries]
        for verb, parts in did:
            if parts and parts != [""]:
                self._lines.append((f"{time:<10} {verb:<7}  ", parts))
                time = ""

    # --- values

    def _meet(self, view: View) -> None:
        for member in view.everyone:
            self._member(member)
        self._groups.update({g.id: g.spec.name for g in view.groups})

    def _life(self, name: Name, incarnation: int) -> str:
        lives = self._lives.setdefault(name, [])
        if incarnation not in lives:
            lives.append(incarnation)
            lives.sort()
        return name + "'" * len([one for one in lives if 0 < one < incarnation])

    def _member(self, member: Member) -> str:
        return self._life(member.name, member.incarnation)

    def _ballot(self, ballot: Ballot) -> str:
        return f"{ballot.counter}.{self._life(ballot.name, ballot.incarnation)}"

    def _stamp(self, stamp: Stamp) -> Stamp:
        self._stamps.add(stamp)
        return stamp

    def _view(self, view: View) -> str:
        self._meet(view)
        members = " ".join(map(self._member, view.members))
        learners = "".join(f" +{self._member(m)}" for m in view.learners)
        groups = "".join(
            f"; {g.spec.name} at {' '.join(g.hosts)}" + "".join(f" +{n}" for n in g.learners) for g in view.groups
        )
        return f"view {view.id}: {members}{learners}{groups}"

    def _cuts(self, cuts: tuple[Cut, ...]) -> str:
        return "".join(f" | cut {self._groups[c.group]} {_vector(c.upto)}" for c in cuts)

    def _decision(self, value: Decision) -> str:
        return f"{self._view(value.view)}{self._cuts(value.cuts)}"

    def _vote(self, vote: Accepted) -> str:
        return f"{self._ballot(vote.ballot)} {self._decision(vote.value)}"

    # --- what a node does

    def _written(self, name: Name, votes: Votes) -> str:
        old, self._votes[name] = self._votes.get(name, Votes(0)), votes
        changes = []
        if votes.incarnation != old.incarnation:
            changes.append(f"life {self._life(name, votes.incarnation)}")
        if votes.view != old.view and votes.view is not None:
            changes.append(self._view(votes.view))
        if votes.promised != old.promised and votes.promised is not None:
            changes.append(f"promised {self._ballot(votes.promised)}")
        if votes.accepted != old.accepted and votes.accepted is not None:
            changes.append(f"accepted {self._vote(votes.accepted)}")
        return ", ".join(changes)

    def _sent(self, send: Any) -> list[Any]:
        envelope: Envelope = send.message
        sender = envelope.sender.name
        parts = list(self._body(sender, envelope.body))
        return [f"{' '.join(send.to)}  ", *parts] if parts else []

    def _body(self, sender: Name, body: Any) -> Iterator[Any]:
        """The message in words and stamps; nothing for heartbeats.  Here those of view changes."""
        match body:
            case Prepare():
                yield f"PREPARE {self._ballot(body.ballot)} in view {body.view}"
            case Promise():
                yield f"PROMISE {self._ballot(body.ballot)}"
                yield from (f" | {self._groups[p.group]} {_vector(p.received)}" for p in body.progress)
                if body.accepted is not None:
                    yield f" | accepted {self._vote(body.accepted)}"
            case Nack():
                yield f"NACK {self._ballot(body.ballot)}"
            case Gather():
                yield f"GATHER {self._ballot(body.ballot)}{self._cuts(body.cuts)}"
            case Held():
                yield f"HELD {self._ballot(body.ballot)}"
            case Pull():
                yield f"PULL {self._groups[body.group]} batches {body.low} to {body.high} of host {body.author}"
            case Accept():
                yield f"ACCEPT {self._ballot(body.ballot)} {self._decision(body.value)}"
            case Accepted():
                yield f"ACCEPTED {self._ballot(body.ballot)}"
            case Commit():
                yield f"COMMIT view {body.value.view.id}"
            case _:
                yield from self._other_body(sender, body)

    def _other_body(self, sender: Name, body: Any) -> Iterator[Any]:
        match body:
            case Wish():
                yield f"WISH of {self._member(body.member)}: " + ("join" if body.joining else "stay")
                yield "".join(f", host {s.name}" for s in body.hosts) + (", leave" if body.leave else "")
            case Data():
                yield from (f"DATA {self._groups[body.group]} {body.number} at ", self._stamp(body.stamp))
                yield f" {b' '.join(map(bytes, body.payloads)).decode()}"
            case Row():
                yield from self._row(sender, body)
            case Ack():
                yield from self._ack(body)
            case Fetch():
                yield f"FETCH {self._groups[body.group]} from byte {body.offset}"
            case Chunk():
                yield f"CHUNK {self._groups[body.group]} bytes {body.offset} to {body.offset + len(body.data)}"
                yield f" of {body.total} | covers view {body.view} {_vector(body.covers)}"

    def _ack(self, ack: Ack) -> Iterator[Any]:
        if self._rows:
            yield from (f"ACK {self._groups[ack.group]} {_vector(ack.received)} clock ", self._stamp(ack.clock))

    def _row(self, sender: Name, row: Row) -> Iterator[Any]:
        received = [(self._groups[g.group], g.received) for g in row.groups]
        if self._rows and received and self._received.get(sender) != (row.view, received):
            self._received[sender] = (row.view, received)
            yield from ("ROW clock ", self._stamp(row.clock))
            yield "".join(f" | {group} {_vector(numbers)}" for group, numbers in received)

    def _delivered(self, delivery: Any) -> list[Any]:
        match delivery:
            case Installed(view):
                return [self._view(view)]
            case Founded(_, spec):
                return [f"{spec.name} is founded"]
            case Delivered(group, _, sender, stamp, payloads):
                text = b" ".join(map(bytes, payloads)).decode()
                return [f"{self._groups[group]} {self._member(sender)} at ", self._stamp(stamp), f" {text}"]
            case SnapshotWanted(group, _):
                return [f"{self._groups[group]} snapshot wanted"]
            case Restored(group, data, _):
                return [f"{self._groups[group]} restored from {len(data)} bytes"]
            case _:
                return [type(delivery).__name__]


def _vector(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))
