"""What waits for a connection that is not to be had."""

import asyncio
import contextlib
import socket
import threading

import pytest

from phalanx.model.machine import LinkUp, Refused
from phalanx.runtime.transport import TcpTransport
from tests.runtime.test_transport import HOST, hello, node
from tests.runtime.toys import PATIENCE_S, on_loop, running, say

DIALS = 4
"""So often an address is dialled that no node listens at."""


def test_what_was_sent_before_nobody_listened_does_not_arrive_when_somebody_does() -> None:
    """Who sent it has been told that it is lost: a client takes such a call for one that has not happened."""

    async def work() -> None:
        async with node() as (a, ear_a):
            b = await TcpTransport.listen(HOST, 0)
            address = b.address
            await b.close()
            say(a, address, "early")
            await ear_a.event(Refused(address))
            async with running(await TcpTransport.listen(HOST, int(address.split(":")[1]))) as (_, ear):
                await ear_a.event(LinkUp(address))
                say(a, address, "late")
                await ear.event((a.address, "late"))
                assert (a.address, "early") not in ear.heard

    on_loop(work)


class Other(threading.Thread):
    """Something else that listens: it says that to whoever dials, or ends the connection at once.  A context manager."""

    def __init__(self, says: bytes | None) -> None:
        super().__init__()
        self._says = says
        self._taken = threading.Semaphore(0)
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        with contextlib.ExitStack() as kept:
            while True:
                made, _ = self._listener.accept()
                kept.enter_context(made)
                if self._says is None:
                    made.close()
                elif made.recv(1):
                    made.sendall(self._says)
                else:  # `__exit__`
                    return
                self._taken.release()

    async def taken(self, count: int = 1) -> None:
        """Wait until so many have dialled."""
        for _ in range(count):
            assert await asyncio.to_thread(self._taken.acquire, timeout=PATIENCE_S)

    def __enter__(self) -> "Other":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._says = b""
        socket.create_connection(self._listener.getsockname()).close()
        self.join(PATIENCE_S)
        self._listener.close()


SAYS = {
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a Phalanx frame: it begins with b'HTTP/1.1 400'"),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", "not a Phalanx frame: it begins with b'SSH-2.0-Open'"),
    "another version": (hello(version=99), "protocol version 99; this node speaks 1"),
    "nothing": (b"", "it takes connections, and does not say in time who it is"),
}


@pytest.mark.parametrize("what", SAYS)
def test_an_address_where_something_else_speaks_is_told_of_once_and_why(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of its dials had a line in the log, and a call's error said that it had not answered yet."""
    monkeypatch.setattr("phalanx.runtime.connection.HANDSHAKE_S_MAX", 0.05 if what == "nothing" else PATIENCE_S)
    says, why = SAYS[what]

    async def work() -> None:
        with Other(says) as other:
            async with node() as (a, _):
                say(a, other.address, "early")
                await other.taken(DIALS + 1)
                assert why in a.explain()
                lines = [record.message for record in caplog.records]
                assert [why in line for line in lines if other.address in line] == [True]
                assert sum(a.refusals.values()) >= DIALS

    on_loop(work)


def test_an_address_that_ends_connections_without_a_word_is_explained() -> None:
    async def work() -> None:
        with Other(None) as other:
            async with node() as (a, _):
                say(a, other.address, "early")
                while "without a word" not in a.explain():
                    await other.taken()
                assert a.explain() == f"{other.address}: it ends connections without a word"

    on_loop(work)
