"""Clusters of real processes that are given up leave no process behind."""

import asyncio
import sys

from phalanx.lab.processes import Processes
from phalanx.model.view import Name
from tests.cancelling import PATIENCE_S, WAITING, run_cut


class Sleepers(Processes):
    """Processes that do nothing."""

    def command(self, name: Name) -> list[str]:  # noqa: ARG002  all are alike
        return [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]


def test_all_processes_are_gone_though_their_end_was_cancelled() -> None:
    async def main() -> None:
        async with Sleepers() as nodes:
            started = [nodes.process(name) for name in nodes.names]
            ended = await run_cut(nodes.stop(), {0: WAITING})
            assert ended.task.cancelled()
            assert not nodes.directory.exists()
            async with asyncio.timeout(PATIENCE_S):
                for process in started:
                    await process.wait()

    asyncio.run(main())
