"""`phalanx serve --metrics`: what it says where it cannot be served."""

import socket
import sys

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line

SERVE = ("serve", "--name", "a", "--diskless", "--bootstrap", "--listen", "127.0.0.1:0")


def serve(*options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(command_line(["serve", "status"]), [*SERVE, *options], env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("phalanx.metrics"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    status, error = serve("--metrics", "127.0.0.1:0")
    assert status == 2
    assert error.startswith("phalanx: --metrics: metrics need prometheus-client (")
    assert error.endswith("): pip install 'phalanx[metrics]'\n")
    with pytest.raises(ImportError, match=r"pip install 'phalanx\[metrics\]'"):
        __import__("phalanx.metrics")


def test_an_address_that_cannot_be_used_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, error = serve(env={"PHALANX_METRICS": address})
        assert (status, f"cannot serve metrics at {address}: Address already in use\n" in error) == (2, True), error
    status, error = serve("--metrics", "9400")
    assert (status, "'9400' is no address" in error) == (2, True)
