"""What `join` and `connect` are given is looked at before anything begins: nothing waits for an address that is none."""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import sync
from phalanx.api.joining import join
from phalanx.api.storage import VOTES
from phalanx.group.messages import Votes
from phalanx.runtime.disk import VoteFile
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S
from tests.api.test_arguments import Counter

HERE = ("a", "127.0.0.1:7400")


async def beginning(name: Any = "a", **settings: Any) -> str:
    """Where the node listens, once it is a member."""
    async with asyncio.timeout(PATIENCE_S), join(name, **settings) as process:
        return process.address


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"listen": "localhost"}, phalanx.ConfigurationError, "'localhost' is no address"),
        ({"listen": "127.0.0.1:99999"}, phalanx.ConfigurationError, "'127.0.0.1:99999' is no address"),
        ({"listen": ":0"}, phalanx.ConfigurationError, "is no address"),
        ({"listen": 7400}, TypeError, "an address is a str like 'host:port', not int"),
        ({"listen": "0.0.0.0:0"}, phalanx.ConfigurationError, "all interfaces .* say which address others are to dial"),
        ({"listen": "[::0]:0"}, phalanx.ConfigurationError, "all interfaces"),
        ({"listen": "0.0.0.0:0", "advertise": "localhost"}, phalanx.ConfigurationError, "'localhost' is no address"),
        ({"advertise": "0.0.0.0:7400"}, phalanx.ConfigurationError, "nobody can dial 0.0.0.0:7400"),
        ({"peers": [HERE], "advertise": "b:1", "listen": HERE[1]}, phalanx.ConfigurationError, "a at b:1 is not among"),
        ({"seeds": "127.0.0.1:7400"}, TypeError, r"seeds are a sequence of addresses: give \['127.0.0.1:7400'\]"),
        ({"seeds": ["localhost"]}, phalanx.ConfigurationError, "'localhost' is no address"),
        ({"peers": ["127.0.0.1:7400"]}, TypeError, "peers are pairs of a name and an address"),
        ({"peers": [HERE, ("b", "b")], "listen": HERE[1]}, phalanx.ConfigurationError, "'b' is no address"),
        ({"peers": [("b", "b:1")]}, phalanx.ConfigurationError, "a at 127.0.0.1:0 is not among the founding peers"),
        ({"name": ""}, phalanx.ConfigurationError, "the name of a node must not be empty"),
        ({"name": "a\n"}, phalanx.ConfigurationError, r"'a\\n' cannot be the name of a node"),
        ({"name": "a" * 256}, phalanx.ConfigurationError, "cannot be the name of a node"),
        ({"name": 5}, TypeError, "the name of a node must be a str, not int"),
        ({"objects": {"C": Counter}}, TypeError, r"objects\['C'\] must be \(Class, lease_ms\) or Hosted"),
        ({"objects": {"C": (Counter(), 0)}}, TypeError, r"objects\['C'\] must be \(Class, lease_ms\)"),
        ({"objects": {"C": phalanx.Hosted(Counter, durable=True)}}, phalanx.ConfigurationError, "a data directory"),
        ({"objects": {"C": (dict, 0)}}, phalanx.ConfigurationError, "dict has no method marked"),
        ({"objects": 5}, TypeError, "objects are a mapping from names, not 5"),
        ({"objects": {"C": (Counter, -1)}}, phalanx.ConfigurationError, "no length of leases: -1 ms"),
        ({"objects": {"\ud800": (Counter, 0)}}, phalanx.ConfigurationError, "name of an object cannot be encoded"),
        ({"seeds": 5}, TypeError, "seeds are a sequence, not 5"),
        ({"peers": 5}, TypeError, "peers are a sequence, not 5"),
        ({"peers": [HERE, HERE], "listen": HERE[1]}, phalanx.ConfigurationError, "a name and an address of its own"),
        ({"peers": [HERE, ("b", HERE[1])], "listen": HERE[1]}, phalanx.ConfigurationError, "of its own"),
        ({"peers": [HERE, ("a", "b:1")], "listen": HERE[1]}, phalanx.ConfigurationError, "of its own"),
        ({"bootstrap": "no"}, TypeError, "bootstrap must be True or False, not 'no'"),
        ({"data": 5}, TypeError, "a data directory is a str or a Path, not int"),
        ({"data": ""}, phalanx.ConfigurationError, "'' is no data directory"),
        ({"data": "a\0b"}, phalanx.ConfigurationError, "is no data directory"),
        ({"tls": 5}, TypeError, "tls is a phalanx.TLS, not 5"),
        ({"metrics": 5}, TypeError, "metrics is a phalanx.metrics.Metrics, not 5"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(settings: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(beginning(**{"bootstrap": "peers" not in settings, **settings}))


def test_a_start_that_fails_lets_go_of_its_port_and_its_directory(tmp_path: Path) -> None:
    async def twice() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(OSError, match=f"cannot listen at {address}: Address already in use"):
                await beginning(listen=address, data=tmp_path, bootstrap=True)
        objects = {"C": (dict, 0)}
        with pytest.raises(phalanx.ConfigurationError):
            await beginning(listen=address, data=tmp_path, bootstrap=True, objects=objects)
        assert await beginning(listen=address, data=tmp_path, bootstrap=True) == address

    run(twice())


def test_a_data_directory_in_use_is_a_public_error(tmp_path: Path) -> None:
    async def twice() -> None:
        async with join("a", bootstrap=True, data=tmp_path):
            with pytest.raises(phalanx.DataDirectoryInUse, match="in use"):
                await beginning("b", bootstrap=True, data=tmp_path)

    run(twice())


def test_a_directory_is_of_one_node(tmp_path: Path) -> None:
    """Two directories that were swapped, or a copy that is started under another name, would vote for one another."""
    run(beginning(name="a", bootstrap=True, data=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(phalanx.ConfigurationError, match="the data directory of node a, whose votes b must not give"):
        run(beginning(name="b", bootstrap=True, data=tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    run(beginning(name="a", data=tmp_path))


def test_a_directory_of_before_belongs_to_the_node_that_is_started_on_it_first(tmp_path: Path) -> None:
    file = VoteFile(tmp_path / "votes")
    assert file.load() is None
    file.store(VOTES.encode(Votes(5)))
    file.close()
    run(beginning(name="a", bootstrap=True, data=tmp_path))
    with pytest.raises(phalanx.ConfigurationError, match="the data directory of node a"):
        run(beginning(name="b", bootstrap=True, data=tmp_path))


def test_a_damaged_vote_file_is_a_public_error(tmp_path: Path) -> None:
    (tmp_path / "votes").write_bytes(b"x" * 8192)
    with pytest.raises(phalanx.DamagedVoteFile):
        run(beginning(bootstrap=True, data=tmp_path))


def made(cls: Callable[..., Any], **settings: Any) -> Any:
    """Without a type checker, which would find it."""
    return cls(**settings)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: phalanx.Timing(heartbeat=-1), phalanx.ConfigurationError, "heartbeat is -1 nanoseconds"),
        (lambda: made(phalanx.Timing, suspect_after=0.5), TypeError, "an int, in nanoseconds, not 0.5"),
        (lambda: phalanx.Timing(suspect_after=50_000_000), phalanx.ConfigurationError, "two heartbeats at least"),
        (lambda: phalanx.Limits(chunk=0), phalanx.ConfigurationError, "chunk is 0 bytes, and must be 1 at least"),
        (lambda: made(phalanx.Limits, log="64 MiB"), TypeError, "an int, in bytes, not '64 MiB'"),
        (lambda: run(beginning(bootstrap=True, timing=5)), TypeError, "timing is a phalanx.Timing"),
        (lambda: run(beginning(bootstrap=True, limits={})), TypeError, "limits are phalanx.Limits"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("endpoints", "error", "text"),
    [
        ([], phalanx.ConfigurationError, "give the address of a node"),
        (["localhost"], phalanx.ConfigurationError, "'localhost' is no address"),
        (["localhost:http"], phalanx.ConfigurationError, "'localhost:http' is no address"),
        ([["127.0.0.1:7400"]], TypeError, "an address is a str like 'host:port', not list"),
    ],
)
def test_a_client_is_given_addresses(endpoints: list[Any], error: type[Exception], text: str) -> None:
    async def begin() -> None:
        async with phalanx.connect(*endpoints):
            raise AssertionError("it began")

    with pytest.raises(error, match=text):
        run(begin())
    with pytest.raises(error, match=text), sync.connect(*endpoints):
        raise AssertionError("it began")


def test_a_client_under_tls_is_given_tls() -> None:
    tls: Any = "ca.crt"
    with pytest.raises(TypeError, match=r"tls is a phalanx.TLS, not 'ca.crt'"), sync.connect("a:1", tls=tls):
        raise AssertionError("it began")


def test_a_node_can_listen_at_an_address_of_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    assert run(beginning(listen="[::1]:0", bootstrap=True)).startswith("[::1]:")


class AnotherCounter:
    value: int = 0

    @phalanx.command
    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    @phalanx.query
    def read(self) -> int:
        return self.value


@pytest.mark.parametrize(
    ("hosted", "text"),
    [
        (phalanx.Hosted(AnotherCounter), "a host it, and version 1 of AnotherCounter there is another than here"),
        (phalanx.Hosted(Counter, lease_ms=500), "a host it with other settings: lease_ms=0 there and 500 here"),
        (phalanx.Hosted(Counter, durable=True), "other settings: durable=False there and True here"),
    ],
)
def test_a_node_that_cannot_host_its_objects_does_not_join(
    hosted: phalanx.Hosted, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def both() -> None:
        async with join("a", bootstrap=True, objects={"C": (Counter, 0)}) as first:
            with pytest.raises(phalanx.Refused, match=f"^C cannot be hosted here: .*{text}"):
                await beginning("b", seeds=[first.address], objects={"C": hosted}, data=tmp_path)
            assert await first.client().object(Counter, "C").call(Counter.add, 1) == 1
            assert "suspects" not in caplog.text, "it left politely"

    with caplog.at_level(logging.INFO, "phalanx"):
        run(both())


def test_a_durable_group_that_waits_for_its_hosts_is_not_hosted_by_another_version(tmp_path: Path) -> None:
    """After a total failure as well: the node says so, instead of waiting for what cannot come."""

    async def in_turn() -> None:
        await beginning(bootstrap=True, data=tmp_path, objects={"C": phalanx.Hosted(Counter, durable=True)})
        with pytest.raises(
            phalanx.Refused, match="a host it, and version 1 of AnotherCounter there is another than here"
        ):
            await beginning(data=tmp_path, objects={"C": phalanx.Hosted(AnotherCounter, durable=True)})
        await beginning(data=tmp_path, objects={"C": phalanx.Hosted(Counter, durable=True)})

    run(in_turn())


def test_hosting_what_is_another_thing_elsewhere_says_what_differs() -> None:
    async def both() -> None:
        async with join("a", bootstrap=True) as first, join("b", seeds=[first.address]) as second:
            await first.group("log", "fifo")
            with pytest.raises(
                phalanx.Refused, match="at a that group is of payloads, here it would be of a replicated object"
            ):
                await second.host(Counter, "log")
            with pytest.raises(phalanx.Refused, match="other settings: order=fifo there and total here"):
                await second.group("log", "total")

    run(both())


@pytest.mark.parametrize(("timing", "moment"), [(phalanx.Timing(), 200_000), (phalanx.Timing(busy_poll=0), 0)])
def test_a_node_on_a_network_polls_as_it_is_told(timing: phalanx.Timing, moment: int) -> None:
    async def alone() -> int:
        async with join("a", bootstrap=True, timing=timing) as process:
            return process._driver._poll._moment if process._driver._poll is not None else 0

    assert run(alone()) == moment


def test_processes_that_share_a_loop_do_not_poll() -> None:
    async def together() -> None:
        async with phalanx.local(2, timing=phalanx.Timing(busy_poll=200_000)) as cluster:
            assert all(process._driver._poll is None for process in cluster.processes)

    run(together())
