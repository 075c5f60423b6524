"""A multicast channel between processes in namespaces of their own, a quarter of whose datagrams is lost.  Needs Linux,
`ip`, and root: it skips, and says why, where there is none of that."""

import json
import subprocess
import sys

import pytest

from phalanx.errors import ConfigurationError
from phalanx.testing.namespaces import network
from tests.real.cluster import PATIENCE_S, real
from tests.real.multicast_peer import digest, payload
from tests.source import ROOT

pytestmark = real

NAMES = ("a", "b", "c", "d")
COUNT = 100
LOSS = 0.25
GROUP = "239.192.77.1:7700"
PEER = "tests.real.multicast_peer"


def test_processes_on_a_lossy_network_hear_each_other_in_order() -> None:
    try:
        made = network(NAMES)
        cables = made.__enter__()
    except ConfigurationError as error:
        pytest.skip(str(error))
    peers: list[subprocess.Popen[str]] = []
    try:
        for name, address in cables.addresses.items():
            words = [sys.executable, "-m", PEER, name, address.partition(":")[0], GROUP]
            command = cables.command(name, [*words, str(len(NAMES) - 1), str(COUNT), str(LOSS)])
            peers.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
                )
            )
        lines = [peer.stdout.readline() if peer.stdout is not None else "" for peer in peers]
        for peer, line in zip(peers, lines, strict=True):
            _, errors = peer.communicate(timeout=PATIENCE_S)
            assert line and not peer.returncode, errors
        told = [json.loads(line) for line in lines]
    finally:
        for peer in peers:
            peer.kill()
            peer.wait()
        made.__exit__(None, None, None)
    expected = {name: digest([payload(name, number) for number in range(COUNT)]) for name in NAMES}
    for name, each in zip(NAMES, told, strict=True):
        assert each["got"] == {other: expected[other] for other in NAMES if other != name}
    assert all(each["lost"] > 0 for each in told)
    assert sum(each["counts"].get("multicast.repair", 0) for each in told) > 0
