"""runtime.descriptors: a node has no more clients than files, and a program that is a node has all the files it may."""

import subprocess
import sys
from pathlib import Path

import pytest

STORY = """
import resource
from phalanx.runtime.descriptors import RESERVED, raise_limit, room_for_clients

resource.setrlimit(resource.RLIMIT_NOFILE, (RESERVED + 44, RESERVED + 700))
print(room_for_clients(10), room_for_clients(10_000))
raise_limit()
raise_limit()
print(room_for_clients(10), room_for_clients(10_000))
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
print(room_for_clients(10_000))
"""


def test_clients_are_as_many_as_the_limit_leaves_room_for() -> None:
    done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10", "44", "10", "700", "1"]


TOO_FEW = """
import resource, sys
from phalanx.cli.main import main

resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
main()
"""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (2, ["serve", "--name", "a", "--bootstrap", "--listen", "127.0.0.1:0", "--data"]),
        (1, ["status"]),
        (1, ["kv", "get", "key"]),
    ],
)
def test_a_process_that_may_open_too_few_says_so_and_nothing_else(
    status: int, words: list[str], tmp_path: Path
) -> None:
    data = tmp_path / "a"
    more = [str(data)] if words[0] == "serve" else []
    done = subprocess.run([sys.executable, "-c", TOO_FEW, *words, *more], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    [line] = done.stderr.splitlines()
    assert "may have 8 files open" in line and "nothing was begun: raise `ulimit -n`" in line
    assert not data.exists()
