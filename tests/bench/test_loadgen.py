"""The load generator in C: it says what a client says, and understands what a node says."""

import contextlib
import functools
import math
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import loadgen
from bench.loadgen import KEYS, LoadFailed, generate_in_c, messages, program
from bench.workloads import STORE, VALUE
from phalanx.api.client import connect
from phalanx.lab.loadgen.load import Plan
from phalanx.lab.processes import Processes
from phalanx.model.clock import Stamp
from phalanx.replication.messages import CloseSession, Command, Declined, Opened, OpenSession, Query, Reason, Reply
from phalanx.replication.outcome import Raised, Returned
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Hello
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV
from phalanx.wire.frame import FrameDecoder, Kind, encode_frame

SESSION = (1 << 40) + 5
"""So large that it takes all of its eight bytes."""

LIFETIME_MS = 60_000

DECLINED = msgspec.msgpack.encode(Declined(1, Reason.ELSEWHERE, "no such\ngroup"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="the load generator in C needs epoll, which is Linux's"),
    pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"),
]

decode = msgspec.msgpack.Decoder(OpenSession | CloseSession | Command | Query).decode

Answer = Callable[[Command | Query], Reply | Declined | None]


def returned(call: Command | Query) -> Reply:
    return Reply(call.request, Returned(b"\xc0"), Stamp(1 << 60))


class Node:
    """Serves one client, as a thread; keeps what it has heard.  Answers come in two writes that end in mid frame."""

    def __init__(self, answer: Answer = returned) -> None:
        self.heard: list[Any] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Node":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(30)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        decoder = FrameDecoder()
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                out = b"".join(self._take(kind, bytes(body)) for kind, body in decoder.feed(data))
                connection.sendall(out[:-5])
                connection.sendall(out[-5:])

    def _take(self, kind: int, body: bytes) -> bytes:
        if kind == Kind.HELLO:
            self.heard.append(HELLO.decode(body))
            return encode_frame(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, self.address, 9, 0)))
        message = decode(body)
        self.heard.append(message)
        answer: Any = None
        if isinstance(message, OpenSession):
            answer = Opened(message.request, SESSION, LIFETIME_MS, (self.address,))
        elif not isinstance(message, CloseSession):
            answer = self._answer(message)
        return encode_frame(Kind.MESSAGE, msgspec.msgpack.encode(answer)) if answer else b""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No second for warming up."""
    monkeypatch.setattr("bench.loadgen.Plan", functools.partial(Plan, warm_up_s=0.05))
    yield


def load(node: Node, operation: str, seconds: float = 0.2) -> loadgen.Figures:
    """Three under way in one session."""
    compiled = program()
    assert compiled is not None
    return generate_in_c(compiled, operation, 3, 1, seconds, [node.address])


def test_puts_are_commands_of_one_session() -> None:
    """Numbers without gaps, requests that grow, keys and values as they are to be."""
    with Node() as node:
        found = load(node, "put")
    hello, opened, *commands, closed = node.heard
    assert hello == Hello(PROTOCOL_VERSION, "", 1, 1)
    assert opened == OpenSession(1, "KV")
    assert closed == CloseSession(commands[-1].request + 1, "KV", SESSION)
    assert [(c.number, c.request) for c in commands] == [(n, n + 1) for n in range(1, len(commands) + 1)]
    for command in commands:
        assert command.low <= command.number < command.low + 3
        key, value, lease = msgspec.msgpack.decode(command.arguments)
        invocation = STORE.invoke(KV.put, key, VALUE)
        assert (command.session, command.group, lease) == (SESSION, "KV", 0)
        assert (command.operation, command.types) == (invocation.operation.id, invocation.operation.types)
        assert command.arguments == invocation.arguments
        assert (len(key), key[:11], value) == (16, loadgen.PREFIX, VALUE)
        assert 0 <= int(key[11:]) < KEYS
    assert len({c.arguments for c in commands}) > 1
    assert found["errors"] == 0
    assert found["ops_per_s"] > 0
    assert 0 < found["p50_us"] <= found["p99_us"] <= found["p999_us"]
    assert 0 < found["client_cpu"] <= 1.1


def test_gets_are_linearizable_queries() -> None:
    with Node() as node:
        load(node, "get")
    queries = node.heard[2:-1]
    assert queries
    for query in queries:
        assert isinstance(query, Query)
        assert not query.stale
        key, revision = msgspec.msgpack.decode(query.arguments)
        assert (key[:11], revision) == (loadgen.PREFIX, None)


@pytest.mark.parametrize(
    "answer",
    [
        lambda call: Declined(call.request, Reason.BUSY, "too much"),
        lambda call: Reply(call.request, Raised("KeyError", b"", "no"), Stamp(1)),
    ],
)
def test_what_fails_is_an_error_and_is_not_asked_again_at_once(answer: Answer) -> None:
    """Three places, of which each stays empty for 0.1 s."""
    with Node(answer) as node:
        found = load(node, "put", 1.0)
    assert 0 < found["errors"] <= 3 * 11
    assert found["ops_per_s"] == 0
    assert len(node.heard) - 3 <= 3 * 13


def test_a_late_answer_holds_the_low_mark_back() -> None:
    """The first command is never answered, so nothing may be forgotten; the others go on."""

    def answer(call: Command | Query) -> Reply | None:
        assert isinstance(call, Command)
        return returned(call) if call.number > 1 else None

    with Node(answer) as node:
        found = load(node, "put")
    commands = [each for each in node.heard if isinstance(each, Command)]
    assert len(commands) > 3
    assert {each.low for each in commands} == {1}
    assert found["errors"] == 1, "it waits for it in the end"


def test_an_answer_to_nothing_ends_it() -> None:
    with (
        Node(lambda call: Reply(call.request + 100, Returned(b""), Stamp(1))) as node,
        pytest.raises(LoadFailed, match="an answer to what was not asked"),
    ):
        load(node, "get")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (b"", "has closed the connection: end of file"),
        (b"HTTP/1.1 400 Bad Request\r\n", "what came is no frame"),
        (struct.pack("<IHBBI", 0, 0x5850, 1, 2, 1 << 30), "what came is no frame"),
        (encode_frame(Kind.MESSAGE, b"\xc0\xc0"), "an answer that is no message"),
        (encode_frame(Kind.MESSAGE, b"\x94\xa8c.opened\xa1x"), "an answer without its number"),
        (encode_frame(Kind.MESSAGE, DECLINED), "declined, .*elsewhere.*no such group"),
    ],
)
def test_what_is_no_node_ends_it_with_a_message(said: bytes, wrong: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(100):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        compiled = program()
        assert compiled is not None
        with pytest.raises(LoadFailed, match=wrong):
            generate_in_c(compiled, "put", 1, 1, 0.1, [f"127.0.0.1:{listener.getsockname()[1]}"])
        thread.join(30)


@pytest.mark.parametrize(
    ("outstanding", "sessions", "node", "wrong"),
    [
        (1, 1, "127.0.0.1:1", "Connection refused"),
        (1, 1, "localhost:1", "localhost:1 is no IPv4 address"),
        (1, 257, "127.0.0.1:1", "sessions: 1 to 256"),
        (2049, 2, "127.0.0.1:1", "under way in each session: 1 to 1024"),
        (0, 1, "127.0.0.1:1", "under way in each session: 1 to 1024"),
    ],
)
def test_what_it_cannot_do_is_told(outstanding: int, sessions: int, node: str, wrong: str) -> None:
    compiled = program()
    assert compiled is not None
    with pytest.raises(LoadFailed, match=wrong):
        generate_in_c(compiled, "put", outstanding, sessions, 0.1, [node])


def test_places_are_those_of_the_marks() -> None:
    """Each line: the kind of the frame, where request, session, number, low and key are, and the body."""
    lines = [line.split() for line in messages("put").splitlines()]
    assert [int(line[0]) for line in lines] == [Kind.HELLO, Kind.MESSAGE, Kind.MESSAGE, Kind.MESSAGE]
    assert [[place != "-1" for place in line[1:6]] for line in lines] == [
        [False] * 5,
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True] * 5,
    ]
    (*_, get) = (line.split() for line in messages("get").splitlines())
    assert [place != "-1" for place in get[1:6]] == [True, False, False, False, True]


def test_real_nodes_do_what_it_asks() -> None:
    """The keys are there afterwards, with their values; in C and in Python the same."""

    async def both() -> None:
        async with Processes(("a",)) as nodes:
            await nodes.wait_until_full(1)
            compiled = program()
            assert compiled is not None
            for operation in loadgen.OPERATIONS:
                in_c = generate_in_c(compiled, operation, 8, 3, 0.2, [nodes.addresses["a"]])
                assert in_c["ops_per_s"] > 0
                in_python = await loadgen.generate(operation, 8, 3, 0.2, [nodes.addresses["a"]])
                assert in_c.keys() == in_python.keys()
                assert in_c["errors"] == in_python["errors"] == 0
                assert all(math.isfinite(value) for value in in_c.values())
                if operation == "put":
                    async with connect(nodes.addresses["a"]) as client:
                        page = await client.kv().range(loadgen.PREFIX)
                    assert page.items
                    assert {item.value for _, item in page.items} == {VALUE}

    run(both())


def test_without_a_compiler_it_is_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert program() is None


def test_what_cannot_be_compiled_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "loadgen.c"
    source.write_text("int main(void) { return nothing; }\n", "ascii")
    monkeypatch.setattr(loadgen, "SOURCE", source)
    monkeypatch.setattr(loadgen, "PROGRAMS", tmp_path)
    with pytest.raises(LoadFailed, match="nothing"):
        program()
    assert list(tmp_path.iterdir()) == [source]
