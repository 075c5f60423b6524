"""What is between the nodes.

Between each two nodes there is at most one connection, dialled by whoever has something to send and no connection.
When it is made both sides get `LinkUp`; it is FIFO; when it breaks a suffix of what is in flight is lost each way and
each side gets `LinkDown` when it notices.  A side that goes on wanting the connection dials again, with a short
back-off; a host whose process is down answers `Refused`, a host that is cut off or has no power does not answer.

Where the network is *lossy*, connections are made and broken as before, but messages travel beside them as datagrams:
in any order, lost, doubled, late, and even to the next life of the process.

A node whose address begins with "~" is a client: it dials, but cannot be dialled, and each of its connections has an
address of its own, as the driver would invent one.
"""

import random
from collections.abc import Callable, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any

from phalanx.model.clock import MICROSECOND, SECOND
from phalanx.model.machine import LinkDown, LinkUp, Received, Refused, Send
from phalanx.model.view import Address, Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node
from phalanx.sim.pipe import BACKOFF_MIN_NS, Pipe, Stream

if TYPE_CHECKING:
    from phalanx.sim.world import World

WAITING_MAX = 10_000
"""Messages that wait for one connection.  At the limit a connection that does not get on is broken, as a driver would
whose buffer is full."""

INTEREST_NS = 30 * SECOND
"""A node goes on dialling an address for this long after it last sent there."""


class Network:
    """All pipes of a world."""

    def __init__(
        self,
        world: "World",
        seed: str,
        conditions: Conditions,
        codec: Callable[[Any], Any] | None,
        fingerprint: Callable[[Any], Any] | None,
    ) -> None:
        self._world = world
        self._rng = random.Random(seed)
        self._random = self._rng.random
        self._conditions = conditions
        self._codec = codec
        self._fingerprint = fingerprint
        self._recording = world.recording
        self._pipes: dict[tuple[Name, Name], Pipe] = {}
        self._nodes: dict[Address, Node] = {}
        self._connections = 0
        self._dials = 0
        self.lossy = 1 if conditions.lossy else 0
        """How many reasons there are at present to be lossy."""
        self.loss = 0.0
        """Fraction of datagrams that are lost."""
        self.duplicate = conditions.duplicate
        self.sent = 0
        """Messages that were sent so far, counted per receiver."""

    def register(self, node: Node) -> None:
        if node.address in self._nodes:
            raise ValueError(f"two nodes at the address {node.address}")
        self._nodes[node.address] = node

    def readdress(self, node: Node, address: Address) -> None:
        """The node, which is down, will come back at another address; nobody listens at the old one."""
        assert node.machine is None, f"{node.name} is running"
        old = node.address
        for other in self._nodes.values():
            other.links.pop(old, None)
        del self._nodes[old]
        node.address = address
        self.register(node)
        for pipe in node.pipes:
            pipe.called = address

    def pipe(self, source: Node, target: Node) -> Pipe:
        pipe = self._pipes.get((source.name, target.name))
        if pipe is None:
            assert source is not target
            pipe, back = Pipe(source, target), Pipe(target, source)
            pipe.reverse, back.reverse = back, pipe
            self._pipes[source.name, target.name] = pipe
            self._pipes[target.name, source.name] = back
            source.pipes.append(pipe)
            target.pipes.append(back)
        return pipe

    # --- messages -------------------------------------------------------------------------------------------------

    def send(self, node: Node, send: Send) -> None:
        """One released (or eager) send of a node that is up."""
        if node.conduct is None:
            self.post(node, send.to, send.message)
        else:
            node.conduct.say(send)

    def post(self, node: Node, to: Sequence[Address], message: Any, claimed: Address | None = None) -> None:
        """It leaves.  `claimed`: in whose name, if not the node's own."""
        own = node.address
        received = Received(own if claimed is None else claimed, message)
        for address in to:
            if address == own:
                self._world.arrive(node, received)
                continue
            pipe = node.links.get(address)
            if pipe is None and (pipe := self._look_up(node, address)) is None:
                if self._recording is not None:
                    self._recording.sent(node, "", address, received)
                    self._recording.lost(self._world.now, "", received, "nobody is there")
                continue
            self.sent += 1
            if self._codec is not None:
                came = Received(pipe.called if claimed is None else claimed, self._codec(message))
            elif pipe.called != own and claimed is None:
                came = Received(pipe.called, message)
            else:
                came = received
            if self._recording is not None:
                self._recording.sent(node, pipe.target.name, address, came)
            self._post(pipe, came)

    def _look_up(self, node: Node, address: Address) -> Pipe | None:
        if address[:1] == "~":
            return None  # a client whose connection is gone
        target = self._nodes.get(address)
        if target is None:
            delay = self._delay()
            self._world.schedule(delay, self._refuse_stranger, node, node.life, address)
            return None
        pipe = self.pipe(node, target)
        if pipe.target_address != address:  # it came back at another address
            self._give_up(pipe, "the target has moved")
            pipe.hang_up()
            pipe.target_address = address
        node.links[address] = pipe
        return pipe

    def _refuse_stranger(self, node: Node, life: int, address: Address) -> None:
        if node.machine is not None and node.life == life and address not in self._nodes:
            self._world.arrive(node, Refused(address))

    def _post(self, pipe: Pipe, received: Received) -> None:
        world = self._world
        now = pipe.sent_at = world.now
        stream = pipe.stream
        if stream is None:
            if pipe.target_address[:1] == "~":
                self._lost(pipe.target, received, "the client's connection is gone")
                return
            if not pipe.dialling:
                self._dial(pipe)
        if self.lossy:
            self._post_datagram(pipe, received)
            return
        if stream is None or pipe.blocked:
            self._hold(pipe, received)
            return
        at = now + self._delay() + pipe.slow_ns
        if at <= stream.last:
            at = stream.last + 1
        stream.last = at
        world.sequence += 1
        if self._fingerprint is None:
            heappush(world.heap, (at, world.sequence, self._arrive, (pipe.target, stream, received)))
        else:
            arrival = (pipe.target, stream, received, self._fingerprint(received.message))
            heappush(world.heap, (at, world.sequence, self._arrive_checked, arrival))

    def _delay(self) -> int:
        conditions = self._conditions
        delay = conditions.delay_min_ns + int(conditions.delay_spread_ns * self._random())
        if conditions.delay_tail and self._random() < conditions.delay_tail:
            delay += int(conditions.delay_tail_ns * self._random())
        return delay

    def _post_datagram(self, pipe: Pipe, received: Received) -> None:
        if pipe.blocked:
            self._lost(pipe.target, received, "cut off")
            self._watch(pipe)
            return
        rand, conditions = self._random, self._conditions
        if rand() < self.loss:
            self._lost(pipe.target, received, "lost on the way")
            return
        copies = 2 if rand() < self.duplicate else 1
        if copies > 1 and self._recording is not None:
            self._recording.doubled(pipe.target.name, received)
        for _ in range(copies):
            delay = self._delay() + pipe.slow_ns
            if rand() < conditions.late:
                delay += int(conditions.late_ns * rand())
            if self._fingerprint is None:
                self._world.schedule(delay, self._arrive, pipe.target, None, received)
            else:
                checksum = self._fingerprint(received.message)
                self._world.schedule(delay, self._arrive_checked, pipe.target, None, received, checksum)

    def _arrive(self, target: Node, stream: Stream | None, received: Received) -> None:
        if stream is None or self._world.now <= stream.cut:
            if target.conduct is not None and (omitted := target.conduct.hears(received)) is not None:
                self._lost(target, received, omitted)
                return
            if self._recording is not None and target.machine is not None:
                self._recording.arrived(self._world.now, target.name, received)
            elif self._recording is not None:
                self._recording.lost(self._world.now, target.name, received, "its receiver is down")
            self._world.arrive(target, received)
        else:
            self._lost(target, received, "the connection broke")

    def _arrive_checked(self, target: Node, stream: Stream | None, received: Received, checksum: Any) -> None:
        assert self._fingerprint is not None
        if self._fingerprint(received.message) != checksum:
            text = (
                f"a message from {received.source} to {target.name} was changed after it was sent: {received.message}"
            )
            self._world.fail("mutation", text)
        self._arrive(target, stream, received)

    def _hold(self, pipe: Pipe, received: Received) -> None:
        if len(pipe.waiting) >= WAITING_MAX:
            self._lost(pipe.target, received, "too many wait")
            if pipe.stream is not None:
                self._break(pipe)
            return
        pipe.waiting.append(received)
        self._watch(pipe)

    def _give_up(self, pipe: Pipe, why: str) -> None:
        """What waits will not go."""
        for received in pipe.waiting:
            self._lost(pipe.target, received, why)
        pipe.waiting.clear()

    def _lost(self, target: Node, received: Received, why: str) -> None:
        if self._recording is not None:
            self._recording.lost(self._world.now, target.name, received, why)

    def _flush(self, pipe: Pipe) -> None:
        """What waited for the connection.  A client is called by it, so now it is known how."""
        waiting, pipe.waiting = pipe.waiting, []
        for received in waiting:
            self._post(pipe, Received(pipe.called, received.message) if received.source[:1] == "~" else received)

    # --- connections ----------------------------------------------------------------------------------------------

    def _dial(self, pipe: Pipe) -> None:
        if pipe.target_address[:1] == "~":
            return
        self._dials += 1
        pipe.dialling = self._dials
        self._world.schedule(self._delay(), self._attempt, pipe, pipe.dialling)

    def _attempt(self, pipe: Pipe, dial: int) -> None:
        source, target = pipe.source, pipe.target
        if pipe.dialling != dial:
            return  # connected by the other side, or crashed, since
        if self._world.now - pipe.sent_at > INTEREST_NS:
            pipe.dialling = 0
            return
        if not (pipe.blocked or pipe.reverse.blocked or not target.host_up):
            if target.machine is not None and target.address == pipe.target_address:
                self._establish(pipe)
                return
            self._give_up(pipe, "refused: nobody listens")
            self._world.arrive(source, Refused(pipe.target_address))
        wait = pipe.backoff_ns
        pipe.backoff_ns = min(2 * wait, self._conditions.backoff_max_ns)
        self._world.schedule(wait + int(wait * self._random()), self._attempt, pipe, dial)

    def _establish(self, pipe: Pipe) -> None:
        """Make the connection anew on both sides; an older one that one side still believes in is replaced."""
        back = pipe.reverse
        if pipe.source.address[:1] == "~":
            self._connections += 1
            pipe.target.links.pop(pipe.called, None)
            pipe.called = f"{pipe.source.address}.{self._connections}"
        back.target_address = pipe.called
        pipe.target.links[pipe.called] = back
        for way in (pipe, back):
            if way.latest is not None:
                way.latest.cut = min(way.latest.cut, self._world.now)
            way.stream = way.latest = Stream()
            way.dialling = 0
            way.timing_out = False
            way.backoff_ns = BACKOFF_MIN_NS
        self._world.arrive(pipe.target, LinkUp(pipe.called))
        self._world.arrive(pipe.source, LinkUp(pipe.target_address))
        for way in (pipe, back):
            if self._random() < self._conditions.keep_unsent:
                self._flush(way)
            else:
                self._give_up(way, "not sent before the connection was made")

    def _watch(self, pipe: Pipe) -> None:
        """Break the connection if what waits on it does not get through in time."""
        if pipe.stream is not None and not pipe.timing_out:
            pipe.timing_out = True
            self._world.schedule(self._patience(), self._time_out, pipe, pipe.stream)

    def _patience(self) -> int:
        return int(self._conditions.break_after_ns * (0.5 + self._random()))

    def _time_out(self, pipe: Pipe, stream: Stream) -> None:
        if pipe.stream is not stream:
            return
        pipe.timing_out = False
        if pipe.blocked:
            self._break(pipe)

    def _break(self, pipe: Pipe) -> None:
        """The source gives the connection up; the target notices later."""
        stream, back = pipe.stream, pipe.reverse
        assert stream is not None
        self._cut(pipe)
        heard_out = self._cut(back)
        self._world.schedule(heard_out - self._world.now + MICROSECOND, self._lose, pipe, stream)
        if back.stream is not None:
            wait = self._patience() if pipe.blocked else self._delay()
            self._world.schedule(max(wait, stream.cut - self._world.now + 1), self._lose, back, back.stream)

    def _cut(self, pipe: Pipe) -> int:
        """Lose a suffix of what is in flight.  Returns when the rest will have arrived."""
        now, stream = self._world.now, pipe.stream
        if stream is None:
            return now
        in_flight_ns = max(0, stream.last - now)
        stream.cut = min(stream.cut, now + int(in_flight_ns * self._random()))
        return max(now, stream.cut)

    def _lose(self, pipe: Pipe, stream: Stream) -> None:
        """The source notices that the connection is gone, unless it has a newer one."""
        if pipe.stream is not stream:
            return
        pipe.stream = None
        self._give_up(pipe, "the connection broke")
        pipe.timing_out = False
        if pipe.target_address[:1] == "~":
            pipe.source.links.pop(pipe.target_address, None)
        self._world.arrive(pipe.source, LinkDown(pipe.target_address))
        if not pipe.dialling and self._world.now - pipe.sent_at <= INTEREST_NS:
            self._dial(pipe)

    # --- what faults do -------------------------------------------------------------------------------------------

    def crashed(self, node: Node, *, host: bool) -> None:
        """The process is gone, or with it its whole host: then nobody tells the peers."""
        now = self._world.now
        for pipe in node.pipes:
            back = pipe.reverse
            rest = now
            if pipe.stream is not None and (host or self._random() < 0.5):
                rest = self._cut(pipe)
            elif pipe.stream is not None:
                rest = max(now, pipe.stream.last)
                pipe.stream.cut = min(pipe.stream.cut, rest)
            if back.stream is not None:
                back.stream.cut = min(back.stream.cut, now)
                wait = self._patience() if host or pipe.blocked else self._delay()
                self._world.schedule(max(wait, rest - now + 1), self._lose, back, back.stream)
            self._give_up(pipe, "its sender ended")
            pipe.hang_up()
            if pipe.target_address[:1] == "~":
                node.links.pop(pipe.target_address, None)

    def block(self, source: Node, target: Node) -> None:
        """Nothing gets from source to target until `unblock`; calls are counted."""
        self.pipe(source, target).blocked += 1

    def unblock(self, source: Node, target: Node) -> None:
        pipe = self.pipe(source, target)
        assert pipe.blocked, f"{source.name} to {target.name} is not blocked"
        pipe.blocked -= 1
        if not pipe.blocked and pipe.stream is not None:
            self._flush(pipe)

    def slow_down(self, source: Node, target: Node, by_ns: int) -> None:
        """Each message takes that much longer from now on (negative: undo)."""
        self.pipe(source, target).slow_ns += by_ns

    def reset(self, source: Node, target: Node) -> None:
        """Break the connection that there is, if any; the nodes will make a new one."""
        pipe = self.pipe(source, target)
        if pipe.stream is not None:
            self._break(pipe)

    def drop(self, node: Node, address: Address) -> None:
        """The node's driver closes the connection to that address, at the machine's wish."""
        pipe = node.links.get(address)
        if pipe is not None and pipe.stream is not None:
            self._break(pipe)
