"""Nodes in network namespaces, whose frames are lost in silence (SCENARIOS 14, 15): what a proxy or a closed socket does
not show is that the kernel knows nothing of it either.  Needs Linux, `ip`, and root."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.api.client import Client
from phalanx.api.hosted import Hosted
from phalanx.cli.main import command_line
from phalanx.errors import ConfigurationError
from phalanx.services.store.kv import KV
from phalanx.testing import namespaces
from phalanx.testing.namespaces import Network, network
from phalanx.testing.nodes import Wish
from phalanx.testing.realnodes import RealNodes
from tests.real.cluster import PATIENCE_S, on_processes, real

pytestmark = real

NAMES = ("a", "b", "c")


@pytest.fixture
def cables() -> Iterator[Network]:
    made = network(NAMES)
    try:
        cables = made.__enter__()
    except ConfigurationError as error:
        pytest.skip(str(error))
    yield cables
    made.__exit__(None, None, None)


@asynccontextmanager
async def cluster(cables: Network, directory: Path) -> AsyncIterator[RealNodes]:
    nodes = RealNodes(Wish(NAMES, {"KV": Hosted(KV, durable=True)}, True, directory), cables)
    async with AsyncExitStack() as stack:
        await nodes.run(stack)
        await nodes.wait_until_full()
        yield nodes


async def written(client: Client) -> bytes:
    found = await client.kv().get(b"key")
    assert found is not None
    return found.value


def test_who_is_cut_off_in_silence_is_left_behind_and_comes_back(cables: Network, tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(cables, tmp_path) as nodes:
            before = (await nodes.statuses())["a"]
            await nodes.partition("a")
            async with nodes.connect(PATIENCE_S, ["b", "c"]) as client:
                await client.kv().put(b"key", b"written without a")
            await nodes.wait_until_full("bc", PATIENCE_S)
            async with nodes.connect(PATIENCE_S, ["a"]) as client:
                assert await written(client) == b"written without a", "it sends its clients to those who go on"
            await nodes.heal()
            await nodes.wait_until_full(timeout_s=PATIENCE_S)
            after = (await nodes.statuses())["a"]
            assert before is not None
            assert after is not None
            assert before.cluster == after.cluster
            async with nodes.connect(PATIENCE_S, ["a"]) as client:
                assert await written(client) == b"written without a"

    on_processes(story())


def test_two_that_lose_each_other_while_both_see_the_third_part_once_and_meet_again(
    cables: Network, tmp_path: Path
) -> None:
    async def story() -> None:
        async with cluster(cables, tmp_path) as nodes:
            await nodes.cut("a", "b")
            async with nodes.connect(PATIENCE_S) as client:
                store = client.kv()
                for n in range(20):
                    await store.put(b"%d" % n, b"")
                await nodes.heal()
                await nodes.wait_until_full(timeout_s=PATIENCE_S)
                assert await store.count() == 20

    on_processes(story())


def test_nothing_is_left_of_a_network_nor_of_one_that_could_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path("/proc/self/ns/net")
    before = here.readlink() if here.is_symlink() else None
    try:
        with network(NAMES):
            assert here.readlink() != before, "this thread is in the hub"
    except ConfigurationError as error:
        pytest.skip(str(error))
    assert here.readlink() == before
    made: list[str] = []

    def failing(*words: str) -> None:
        made.append(" ".join(words))
        if len(made) > 8:
            raise OSError("no more")
        real_ip(*words)

    real_ip = namespaces._ip
    monkeypatch.setattr(namespaces, "_ip", failing)
    with pytest.raises(ConfigurationError, match="no more"), network(NAMES):
        raise AssertionError("it was never made")
    assert here.readlink() == before
    assert list(Path("/run/netns").glob(f"phalanx-{os.getpid()}-*")) == []


def test_a_command_that_does_not_end_is_a_reason_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 30.0)

    monkeypatch.setattr(subprocess, "run", endless)
    with pytest.raises(OSError, match="ip netns add x: no end after"):
        namespaces._ip("netns", "add", "x")


def test_where_there_can_be_none_the_command_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    done = CliRunner().invoke(command_line(["soak"]), ["soak", "--namespaces", "--minutes", "0.1"])
    assert done.exit_code == 2
    assert "namespaces need Linux" in " ".join(done.output.split())


@pytest.mark.usefixtures("cables")
def test_a_short_soak_with_silent_cuts_ends_with_nothing_lost_and_nothing_wrong(tmp_path: Path) -> None:
    options = ["--namespaces", "--faults", "cut", "--minutes", "0.07", "--round", "4", "--directory", str(tmp_path)]
    command = [sys.executable, "-m", "phalanx", "soak", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost=0 violations=0" in done.stdout.splitlines()[-1]
