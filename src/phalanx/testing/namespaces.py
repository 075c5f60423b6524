"""A network of namespaces: every node has its own, with a cable to one switch, and frames can be lost in silence.

    hub: this process, and whoever else asks the nodes     10.77.0.254
      | switch
      +-- a 10.77.0.1     +-- b 10.77.0.2     +-- c 10.77.0.3

To cut a node off from another, its kernel is told a hardware address for the other that nobody has.  What it sends is
lost then as behind a dead switch: connections stay, the kernel sends again at ever longer intervals, a dial waits for its
time limit.  Nothing outside these namespaces is touched.

Linux only, with the program `ip` and the right to make namespaces (root).
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from phalanx.errors import ConfigurationError
from phalanx.model.view import Address, Name

PORT = 7000
_NETWORK = "10.77.0"
_HUB = 254
_NOBODY = "02:00:00:00:00:00"
_CLONE_NEWNET = 0x4000_0000
_IP_S_MAX = 30.0


class Network:
    """The namespaces of these nodes, made by `network`."""

    def __init__(self, names: Sequence[Name], prefix: str) -> None:
        self._places = {name: place for place, name in enumerate(names, 1)}
        self._prefix = prefix
        self._cuts: frozenset[frozenset[Name]] = frozenset()

    @property
    def addresses(self) -> Mapping[Name, Address]:
        """Where each node is to listen."""
        return {name: f"{_NETWORK}.{place}:{PORT}" for name, place in self._places.items()}

    def command(self, name: Name, command: Sequence[str]) -> list[str]:
        """What runs the command as that node's: it replaces itself by it, so it is the same process."""
        return ["ip", "netns", "exec", self._space(name), *command]

    def cut_just(self, cuts: Collection[frozenset[Name]]) -> None:
        """Frames between these pairs are lost, in both directions, and no others.  Raises OSError."""
        changed = self._cuts ^ frozenset(cuts)
        self._cuts = frozenset(cuts)
        for pair in sorted(map(sorted, changed)):
            for name, other in (pair, pair[::-1]):
                self._know(name, other, lost=frozenset(pair) in self._cuts)

    def make(self) -> None:
        """Raises OSError; what was made of it then is to be removed."""
        hub = self._space("hub")
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "switch", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{_NETWORK}.{_HUB}/24", "dev", "switch")
        _ip("-n", hub, "link", "set", "switch", "up")
        for name, place in self._places.items():
            space, cable = self._space(name), f"to{place}"
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", hub, "link", "add", cable, "type", "veth", "peer", "name", "cable", "netns", space)
            _ip("-n", hub, "link", "set", cable, "master", "switch", "up")
            _ip("-n", space, "link", "set", "cable", "address", _hardware(place))
            _ip("-n", space, "addr", "add", f"{_NETWORK}.{place}/24", "dev", "cable")
            _ip("-n", space, "link", "set", "cable", "up")
        for name in self._places:
            for other in self._places:
                if name != other:
                    self._know(name, other, lost=False)

    def remove(self) -> None:
        """What there is of it, and so the cables in it.  Processes there should have ended."""
        for name in (*self._places, "hub"):
            subprocess.run(["ip", "netns", "del", self._space(name)], capture_output=True, check=False)

    def enter(self) -> int:
        """Move this thread, and those that it will start, into the hub; what `leave` needs.  Raises OSError."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self._space('hub')}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        except OSError:
            os.close(back)
            raise
        finally:
            os.close(there)
        return back

    def leave(self, back: int) -> None:
        """Undo `enter`."""
        _setns(back)
        os.close(back)

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _know(self, name: Name, other: Name, *, lost: bool) -> None:
        place = self._places[other]
        known = _NOBODY if lost else _hardware(place)
        at = ("to", f"{_NETWORK}.{place}", "dev", "cable", "lladdr", known, "nud", "permanent")
        _ip("-n", self._space(name), "neigh", "replace", *at)


@contextmanager
def network(names: Sequence[Name]) -> Iterator[Network]:
    """The namespaces, with this thread in the hub, while the block runs.  Raises `ConfigurationError` where there can be
    none, with the reason."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        raise ConfigurationError("network namespaces need Linux and the program `ip` (Debian: iproute2)")
    made = Network(names, f"phalanx-{os.getpid()}")
    try:
        try:
            made.make()
            back = made.enter()
        except OSError as error:
            raise ConfigurationError(f"network namespaces cannot be made here: {error}") from error
        try:
            yield made
        finally:
            made.leave(back)
    finally:
        made.remove()


def _hardware(place: int) -> str:
    return f"02:00:00:00:01:{place:02x}"


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=_IP_S_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"ip {' '.join(words)}: no end after {_IP_S_MAX} s") from error
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip() or done.returncode}")


def _setns(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
