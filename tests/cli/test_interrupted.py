"""A command that is interrupted says what became of its write, in one line, and its exit status is that of interrupts."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.node import PATIENCE_S, a_node

MARK = b"what nobody answers"


class Path:
    """To a node; it carries nothing more once it has the mark: neither that nor an answer."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.swallowed = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                near, far = self._listener.accept()[0], socket.create_connection(self._to)
                self._ends += [near, far]
                for way in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=way, daemon=True).start()
        except OSError:
            pass  # closed

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                if MARK in data:
                    self.swallowed.set()
                if not self.swallowed.is_set():
                    target.sendall(data)
        except OSError:
            pass  # closed

    def close(self) -> None:
        for each in (self._listener, *self._ends):
            each.close()


@contextmanager
def a_node_behind_a_path() -> Iterator[Path]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        to = free.getsockname()
    path = Path(to)
    try:
        with a_node(listen=f"127.0.0.1:{to[1]}", advertise=path.address):
            yield path
    finally:
        path.close()


def begun(*words: str) -> subprocess.Popen[str]:
    """The command, which takes interrupts: shells start what runs in the background with them ignored."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from phalanx.cli.main import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "words",
    [
        ["kv", "put", "k", MARK.decode()],
        ["kv", "delete", MARK.decode()],
        ["kv", "cas", "k", "--absent", MARK.decode()],
        ["txn", "--then", f"put k '{MARK.decode()}'"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_who_interrupts_a_write_that_was_sent_is_told_that_its_outcome_is_unknown(words: list[str]) -> None:
    with a_node_behind_a_path() as path:
        command = begun(*words, "-e", path.address, "--timeout", "60")
        assert path.swallowed.wait(PATIENCE_S)
        command.send_signal(signal.SIGINT)
        out, error = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130
    assert out == ""
    assert error == (
        "interrupted: outcome unknown: it had been sent, and may have happened, or may yet; read before you try again\n"
    )


def test_who_interrupts_a_write_that_was_not_sent_is_told_that_it_is_not_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        command = begun("kv", "put", "k", "v", "-e", f"127.0.0.1:{mute.getsockname()[1]}", "--timeout", "60")
        mute.settimeout(PATIENCE_S)
        client, _ = mute.accept()
        command.send_signal(signal.SIGINT)
        out, error = command.communicate(timeout=PATIENCE_S)
        client.close()
    assert (command.returncode, out, error) == (130, "", "interrupted: not done\n")


def test_who_interrupts_a_read_is_told_nothing() -> None:
    with a_node_behind_a_path() as path:
        command = begun("kv", "get", MARK.decode(), "-e", path.address, "--timeout", "60")
        assert path.swallowed.wait(PATIENCE_S)
        command.send_signal(signal.SIGINT)
        out, error = command.communicate(timeout=PATIENCE_S)
    assert (command.returncode, out, error) == (130, "", "")
