"""`phalanx roll` on real nodes of a durable store under load (SCENARIOS 22)."""

import asyncio
import shlex
import sys
from pathlib import Path

from phalanx.lab.load import Load
from phalanx.lab.processes import Processes
from tests.real.cluster import (
    assert_no_error_reached_a_client,
    assert_nobody_was_cheated,
    on_processes,
    one_status,
    real,
)

pytestmark = real

CALLS = 100

ASK = """
import socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect(sys.argv[1])
asked.sendall(sys.argv[2].encode() + b"\\n")
sys.exit(asked.recv(1) != b"0")
"""
"""What the command runs to have a node restarted: it asks the test, whose children the nodes are."""


def test_the_command_restarts_all_nodes_of_a_durable_store_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    """Every second node politely, the others by SIGKILL, which a restart that hangs ends in."""
    restarted: list[str] = []

    async def story() -> None:
        async with Processes(options=("--durable",)) as nodes:
            before = await one_status(nodes, 3)

            async def restart(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                name = (await reader.readline()).decode().strip()
                restarted.append(name)
                if len(restarted) % 2:
                    assert await nodes.terminate(name) == 0
                await nodes.restart(name)
                writer.write(b"0")
                writer.close()

            place = str(tmp_path / "asked")
            command = shlex.join([sys.executable, "-c", ASK, place, "{name}"])
            async with await asyncio.start_unix_server(restart, place), Load(nodes.addresses) as load:
                await load.make(CALLS)
                roll = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "phalanx", "roll", "--endpoint", nodes.addresses["b"]),
                    *("--command", command),
                    stdout=asyncio.subprocess.PIPE,
                )
                said, _ = await roll.communicate()
                assert roll.returncode == 0, said
                await load.make(CALLS)
                after = await one_status(nodes, 3)
            order = [member.name for member in reversed(before.members)]
            assert restarted == order, "the youngest first"
            assert said.decode().splitlines()[-1] == f"restarted: {' '.join(order)}"
            assert after.cluster == before.cluster
            assert after.groups[0].id == before.groups[0].id, "the state was handed on, not founded anew"
            assert set(after.members).isdisjoint(before.members)
            assert_no_error_reached_a_client(load.records)
            await assert_nobody_was_cheated(nodes, load.records)

    on_processes(story())
