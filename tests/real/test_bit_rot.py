"""Disks of real nodes rot, one after the other, in any of their files (SCENARIOS 6)."""

import random
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.lab.processes import Processes
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

pytestmark = real

ROUNDS = 3
SECTOR = 512


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_short(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def misdirect(data: bytearray, rng: random.Random) -> None:
    """A sector of it is in another one's place."""
    sectors = range(0, len(data), SECTOR)
    source, target = rng.choice(sectors), rng.choice(sectors)
    data[target : target + SECTOR] = data[source : source + SECTOR]


def lose(data: bytearray, rng: random.Random) -> None:
    """A sector cannot be read, and is all zeros."""
    at = rng.randrange(0, len(data), SECTOR)
    data[at : at + SECTOR] = bytes(len(data[at : at + SECTOR]))


IN_LOGS = (flip, cut_short, misdirect, lose)
IN_VOTES = (flip, lose)
"""A vote file that is cut short is not believed: its node does not start, and says what to do (tests/runtime)."""


def rot(data: Path, rng: random.Random) -> str:
    """Spoil one file of the node; which, and how."""
    path = rng.choice(sorted([data / "votes", *(data / "log").iterdir()]))
    spoil = rng.choice(IN_VOTES if path.name == "votes" else IN_LOGS)
    content = bytearray(path.read_bytes())
    spoil(content, rng)
    path.write_bytes(content)
    return f"{spoil.__name__} {path}"


@pytest.mark.parametrize("seed", range(2))
def test_what_rots_on_one_disk_of_three_is_repaired_from_the_others_wherever_it_is(seed: int) -> None:
    """SCENARIOS 6: everything acknowledged is there, and it is the same group, with any one of them gone."""

    async def story() -> None:
        rng = random.Random(seed)
        acknowledged: dict[bytes, bytes] = {}
        async with Processes(options=("--durable", "--suspect-after-ms", "300")) as nodes:
            before = await one_status(nodes, 3)
            for number in range(ROUNDS):
                async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                    for n in range(20):
                        key, value = b"%d/%d" % (number, n), rng.randbytes(rng.randrange(2000))
                        await client.kv().put(key, value)
                        acknowledged[key] = value
                for name in nodes.names:
                    await nodes.kill(name)
                victim = rng.choice(nodes.names)
                what = rot(nodes.directory / victim, rng)
                for name in nodes.names:
                    await nodes.start(name)
                after = await one_status(nodes, 3)
                assert (after.cluster, after.groups[0].id) == (before.cluster, before.groups[0].id), what
                for name in nodes.names:
                    async with connect(nodes.addresses[name], timeout_s=PATIENCE_S) as client:
                        found = {key: item.value async for key, item in client.kv().stale.items()}
                        assert found == acknowledged, f"{what}: {name} has something else"

    on_processes(story())
