"""Reliable FIFO multicast between processes, over UDP, on asyncio: one to many at the cost of one."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from phalanx.api.arguments import bytes_of, look_at_loop, name_of, number_of, seconds_of
from phalanx.api.reading import until_left
from phalanx.errors import Closed, ConfigurationError, TooFarBehind, TooLarge
from phalanx.model.clock import Instant
from phalanx.model.machine import Note
from phalanx.multicast.channel import ReliableChannel
from phalanx.multicast.config import ChannelConfig, ChannelLimits, ChannelTiming
from phalanx.multicast.messages import NAME_MAX, Arrived, Datagram, Drained, Missed, Publish, Taken
from phalanx.runtime.clock import system_clock
from phalanx.runtime.contract import Transport
from phalanx.runtime.datagrams import MulticastTransport
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.wire.codec import Codec

log = logging.getLogger(__name__)

GROUP = "the group"
"""Where a machine's datagrams go: the transport knows."""

LINGER = "how long a channel lingers"

CODEC: Codec[Datagram] = Codec(Datagram)


class Heard(NamedTuple):
    """A payload of somebody else.  `life`: another one of the same sender means that it has started anew."""

    sender: str
    payload: bytes
    life: int


class Channel:
    """One process's end of a multicast channel.  Made by `channel`.

        async for heard in channel:
            ...
        await channel.send(b"hello")

    What is promised, and what is not, is said in `phalanx.multicast.channel`: each sender's payloads once and in its
    order, to whoever is not too far behind; nothing about what others have got.
    """

    def __init__(self, config: ChannelConfig, transport: Transport) -> None:
        self.name = config.channel
        self.sender = config.sender
        self.counts: dict[str, int] = {}
        """How often what has happened, by the names of the machine's notes: `multicast.nack` for requests that were sent,
        `multicast.suppressed` for those that another made needless, `multicast.repair`, `multicast.missed`, ..."""
        self._limits = config.limits
        self._machine = ReliableChannel(config, random.Random(), system_clock())
        self._driver = Driver(self._machine, CODEC, transport, MemoryDisk(), self._deliver, on_notes=self._note)
        self._heard: deque[Arrived | Missed] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._handed = 0
        """Bytes that were ever published, as they count against the limits."""
        self._closed = False
        self._read = False
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<phalanx.Channel {self.name!r}, sending as {self.sender!r}{', closed' * self._closed}>"

    def start(self) -> None:
        """Begin.  `channel` does it for you."""
        self._driver.start()
        self._driver.closed.add_done_callback(lambda _: self._wake())

    # --- sending

    async def send(self, payload: bytes) -> None:
        """Multicast a payload to all that are on the channel, this process not among them.

        Returns once it is queued behind those before it, which waits while there is no room in `ChannelLimits.queue`:
        it is sent at `ChannelLimits.rate`.  Who receives it nobody knows.  Raises `TooLarge`, `Closed` once the
        channel is closed, what broke it, and `TypeError` if the payload is not bytes.
        """
        look_at_loop(self._loop, f"channel {self.name}")
        payload = bytes_of(payload, f"a payload of channel {self.name}")
        if len(payload) > self._limits.payload:
            raise TooLarge(f"{len(payload)} bytes; the limit of a payload is {self._limits.payload}")
        cost = self._machine.config.cost_of_payload(len(payload))
        while not self._closed and self._unsent + cost > self._limits.queue:
            self._room.clear()
            await self._room.wait()
            self._look()
        self._look()
        if self._closed:
            raise Closed(f"the channel {self.name} is closed; nothing was sent")
        self._handed += cost
        self._driver.submit(Publish(payload))

    async def sent(self) -> None:
        """Wait until all that was published has left once."""
        while not self._closed and self._unsent:
            self._room.clear()
            await self._room.wait()
            self._look()

    @property
    def _unsent(self) -> int:
        """What was published and has not left, whether the machine has been given it or not."""
        return self._handed - self._machine.sending.sent

    # --- receiving

    async def __aiter__(self) -> AsyncIterator[Heard]:
        """What others publish, in the order of each.  One iteration at a time; it ends when the channel is closed.

        Raises `TooFarBehind` in the place of what is lost to this process; iterate again to go on behind it.
        """
        look_at_loop(self._loop, f"channel {self.name}")
        if not await until_left(lambda: self._read):
            raise RuntimeError(f"channel {self.name} is iterated already")
        self._read = True
        try:
            while True:
                while self._heard:
                    item = self._heard.popleft()
                    if isinstance(item, Missed):
                        raise TooFarBehind(item.sender, item.fragments)
                    self._driver.submit_lazily(Taken(len(item.payload)))
                    yield Heard(item.sender, item.payload, item.stream)
                if self._closed:
                    return
                self._look()
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            self._read = False

    # --- the end

    async def close(self, linger_s: float = 0.0) -> None:
        """Send what is queued, go on answering requests for `linger_s` seconds, then stop.  Whoever lacks something by
        then does not get it.  Idempotent."""
        look_at_loop(self._loop, f"channel {self.name}")
        linger_s = seconds_of(linger_s, LINGER, 0)
        if not self._closed:
            if linger_s > 0:
                await self.sent()
                await asyncio.wait((asyncio.shield(self._driver.closed),), timeout=linger_s)
            self._closed = True
            self._wake()
        await self._driver.close()

    # --- between the loop and the machine

    def _deliver(self, deliveries: list[Any]) -> None:
        for delivery in deliveries:
            if isinstance(delivery, Drained):
                self._room.set()
            else:
                self._heard.append(delivery)
                self._arrived.set()

    def _note(self, notes: Sequence[Note], _: Instant) -> None:
        for note in notes:
            self.counts[note.what] = self.counts.get(note.what, 0) + 1

    def _look(self) -> None:
        if self._driver.closed.done():
            self._driver.closed.result()

    def _wake(self) -> None:
        self._arrived.set()
        self._room.set()


@asynccontextmanager
async def channel(
    name: str,
    sender: str,
    *,
    address: str,
    interface: str,
    hops: int = 1,
    linger_s: float = 1.0,
    limits: ChannelLimits = ChannelLimits(),
    timing: ChannelTiming = ChannelTiming(),
) -> AsyncIterator[Channel]:
    """Be on a multicast channel while the block runs; at its end send what is queued, and answer requests for `linger_s`
    seconds more (on an error: just stop).

    name: those who give the same one, on the same address, hear each other.  sender: the name under which this process
        publishes; it need not be unique, each life of each sender is told apart.
    address: the group's, IPv4 and a port ("239.192.0.1:7700"; 239.192.0.0/14 is for use within an organization).
    interface: the address that this machine has on the network to use.  "127.0.0.1": only processes of this machine.
    hops: how many networks what is sent may cross.  1: none but its own.

    Raises `ConfigurationError` for settings that make no sense, `TypeError`, `OSError` if the kernel refuses them.
    """
    for what, text in (("name", name), ("sender", sender)):
        if isinstance(text, str) and not 1 <= len(text) <= NAME_MAX:
            raise ConfigurationError(f"{what} has {len(text)} letters, and must have 1 to {NAME_MAX} letters")
        name_of(text, what)
    for what, text in (("address", address), ("interface", interface)):
        if not isinstance(text, str):
            raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    if not 0 <= number_of(hops, "hops") <= 255:
        raise ConfigurationError(f"hops is {hops}, and must be from 0 to 255")
    seconds_of(linger_s, LINGER, 0)
    if not isinstance(limits, ChannelLimits) or not isinstance(timing, ChannelTiming):
        raise TypeError("limits are phalanx.ChannelLimits, and timing is a phalanx.ChannelTiming")
    config = ChannelConfig(name, sender, (GROUP,), limits, timing)
    config.check()
    async with opened(Channel(config, MulticastTransport.join(address, interface, hops)), linger_s) as made:
        yield made


@asynccontextmanager
async def opened(made: Channel, linger_s: float) -> AsyncIterator[Channel]:
    """That channel while the block runs."""
    made.start()
    try:
        yield made
        await made.close(linger_s)
    finally:
        await made.close()
