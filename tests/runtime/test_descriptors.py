"""runtime.descriptors: a node has no more clients than files, and a program that is a node has all the files it may."""

import subprocess
import sys

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
