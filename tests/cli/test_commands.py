"""Commands that the command line runs (cli/commands.py)."""

import asyncio
import sys

from phalanx.cli.commands import Command
from phalanx.runtime.loop import run

PATIENCE_S = 60.0


def test_a_wait_that_is_given_up_does_not_keep_the_loop_from_its_end() -> None:
    """`phalanx roll` that was interrupted waited for the end of what it had started."""

    async def main() -> Command:
        command = Command([sys.executable, "-c", "import signal; signal.pause()"])
        waiting = asyncio.create_task(command.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return command

    command = run(main())
    assert command.running, "it ends by no means but this"
    command.kill()
    assert run(command.wait()) == -9


def test_its_exit_status_is_told_to_all_who_wait() -> None:
    async def main() -> None:
        command = Command(
            [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['STATUS']))"], {"STATUS": "7"}
        )
        async with asyncio.timeout(PATIENCE_S):
            assert set(await asyncio.gather(command.wait(), command.wait())) == {7}
        assert not command.running

    run(main())
