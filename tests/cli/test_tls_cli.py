"""The commands under TLS: one option and one variable for all that connect, and what they say of certificates."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from phalanx.api.tls import TLS
from phalanx.cli.main import command_line
from tests.certificates import CLIENT, DAY, HOST, SERVER, Authority
from tests.cli.node import a_node
from tests.cli.test_sim_cli import is_told


def words(tls: TLS) -> list[str]:
    return [str(tls.certificate), str(tls.key), str(tls.authorities)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def address(authority: Authority) -> Iterator[str]:
    """Of a node that has the key that some commands look for."""
    with a_node(authority.node()) as found:
        status, _, error = shell("kv", "put", "k", "v", "--tls", *words(authority.client()), "--endpoint", found)
        assert status == 0, error
        yield found


def test_a_node_at_an_ipv6_address_shows_a_certificate_that_names_it(authority: Authority) -> None:
    """It was looked for in the certificate with its brackets, in vain."""
    tls = authority.issue("six", ["::1"], usages=[SERVER, CLIENT])
    line = ("serve", "--name", "a", "--diskless", "--listen", "[::1]:0", "--tls", *words(tls))
    status, _, error = shell(*line)
    assert (status, error) == (2, "phalanx: say how to begin: seeds to join, peers to found with, or bootstrap\n")
    status, _, error = shell(*line, "--advertise", "[::2]:1")
    assert status == 2 and is_told("does not name ::2", error)


def shell(*line: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(command_line(), line, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


COMMANDS: dict[str, tuple[str, ...]] = {
    "kv put": ("kv", "put", "k", "v"),
    "kv get": ("kv", "get", "k"),
    "kv delete": ("kv", "delete", "gone"),
    "kv cas": ("kv", "cas", "k", "no", "w"),
    "kv range": ("kv", "range"),
    "kv count": ("kv", "count"),
    "kv history": ("kv", "history", "k"),
    "kv info": ("kv", "info"),
    "kv compact": ("kv", "compact", "1"),
    "lease list": ("lease", "list"),
    "lease grant": ("lease", "grant", "5"),
    "txn": ("txn", "--then", "put k x"),
    "watch": ("watch", "k", "--after", "0", "-n", "1"),
    "status": ("status",),
    "lock": ("lock", "it", "--", "true"),
    "elect": ("elect", "it", "--", "true"),
    "backup": ("backup",),
    "roll": ("roll", "--patience", "0.1"),
    "bench": ("bench", "put", "--seconds", "0.1", "--outstanding", "1", "--keys", "10", "--processes", "1"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_connects_with_the_option_and_with_the_variable(
    name: str, authority: Authority, address: str, tmp_path: Path
) -> None:
    """And without it says, besides that nothing was done, that the node speaks TLS."""
    command = list(COMMANDS[name])
    if name == "backup":
        command.append(str(tmp_path / "file"))
    client = words(authority.client())
    options = ["--tls", *client, "--endpoint", address]
    at = command.index("--") if "--" in command else len(command)
    with_option = shell(*command[:at], *options, *command[at:])
    expected = {"roll": 1, "kv delete": 5, "kv cas": 5}.get(name, 0)  # answers all, of the node
    assert with_option[0] == expected, with_option
    if name == "backup":
        command[-1] += "2"
    named = {"PHALANX_TLS": " ".join(client), "PHALANX_ENDPOINTS": address}
    status, _, error = shell(*command, env=named)
    assert status == expected, error


def test_every_command_that_takes_endpoints_takes_certificates() -> None:
    def leaves(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path, {option for each in command.params for option in each.opts}  # type: ignore[attr-defined]  # it is a command
        for name, child in (children or {}).items():
            yield from leaves(child, (*path, name))

    connecting = {path: options for path, options in leaves(get_command(command_line())) if "--endpoint" in options}
    assert len(connecting) > 20
    assert [path for path, options in connecting.items() if "--tls" not in options] == []


def test_without_certificates_a_command_says_that_the_node_speaks_tls(address: str) -> None:
    status, _, error = shell("kv", "put", "k", "v", "--endpoint", address, "--timeout", "0.5")
    assert status == 3
    assert error.startswith("not done: ")
    assert is_told(f"{address}: it speaks TLS, and this side was started without", error)
    status, _, error = shell("status", "--endpoint", address, "--timeout", "0.5")
    assert status == 3
    assert is_told("it speaks TLS", error)
    status, _, error = shell("roll", "--endpoint", address, "--patience", "0.1")
    assert status == 1
    assert is_told("nobody answers", error) and is_told("it speaks TLS", error)


def test_a_certificate_of_another_authority_is_refused_and_the_command_says_so(
    authority: Authority, address: str, tmp_path: Path
) -> None:
    theirs = Authority(tmp_path, "other").client()
    line = [str(theirs.certificate), str(theirs.key), str(authority.file)]
    status, _, error = shell("kv", "put", "k", "v", "--endpoint", address, "--timeout", "0.5", "--tls", *line)
    assert status == 3
    assert is_told("it does not know the authority of this side's certificate", error)


@pytest.mark.parametrize("command", [("kv", "get", "k"), ("status",), ("roll",), ("bench",), ("demo",)])
def test_files_that_cannot_be_used_are_an_error_of_the_command_line(
    command: tuple[str, ...], authority: Authority, tmp_path: Path
) -> None:
    old = authority.issue("old", [HOST], ends=-DAY)
    status, _, error = shell(*command, "--tls", *words(old))
    assert status == 2
    assert is_told("old.crt has expired", error)
    assert is_told("--tls", error)
    status, _, error = shell(*command, "--tls", str(tmp_path / "gone"), *words(old)[1:])
    assert status == 2
    assert is_told("cannot be read: No such file or directory", error)
    assert shell(*command, "--tls", "only-one")[0] == 2


def test_serve_refuses_a_certificate_for_another_host_and_says_what_to_do(authority: Authority, tmp_path: Path) -> None:
    away = authority.issue("away", ["a.example"])
    line = ["serve", "--name", "a", "--bootstrap", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    status, _, error = shell(*line, "--tls", *words(away))
    assert status == 2
    assert is_told("subjectAltName has IP:127.0.0.1", error)
    assert not (tmp_path / "data").exists()


def test_the_value_is_what_was_written(authority: Authority, address: str) -> None:
    options = ["--tls", *words(authority.client()), "--endpoint", address]
    assert shell("kv", "put", "seen", "x", *options)[0] == 0
    assert json.loads(shell("kv", "get", "seen", "--json", *options)[1])["value"] == "x"
