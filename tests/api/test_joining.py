"""What `join` and `connect` are given is looked at before anything begins: nothing waits for an address that is none."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import sync
from phalanx.api.joining import join
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
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(settings: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(beginning(**{"bootstrap": "peers" not in settings, **settings}))


def test_a_start_that_fails_lets_go_of_its_port_and_its_directory(tmp_path: Path) -> None:
    async def twice() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(OSError, match="in use"):
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


def test_a_damaged_vote_file_is_a_public_error(tmp_path: Path) -> None:
    (tmp_path / "votes").write_bytes(b"x" * 8192)
    with pytest.raises(phalanx.DamagedVoteFile):
        run(beginning(bootstrap=True, data=tmp_path))


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


def test_a_node_can_listen_at_an_address_of_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    assert run(beginning(listen="[::1]:0", bootstrap=True)).startswith("[::1]:")
