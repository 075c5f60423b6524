"""Commands of the user's that `phalanx lock`, `phalanx elect` and `phalanx roll` run."""

import asyncio
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress


class Command:
    """A command that was started, with this process's standard streams and no other descriptor.

    Not a subprocess of asyncio's: uvloop's children have each standard stream a second time, under a number that no
    command expects.  A daemon that a command starts may then redirect its streams, and a pipe that reads what is
    printed here has no end all the same, as long as the daemon lives.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Raises `OSError` if it cannot be started."""
        self._process = subprocess.Popen(words, env=environment)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    async def wait(self) -> int:
        """Its exit status; below 0, the signal that ended it.  The wait can be given up, the command goes on."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def look() -> None:
            self._process.wait()
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        # Not by the loop's own threads: the end of the loop waits for those, and so for the command.
        threading.Thread(target=look, daemon=True).start()
        await ended.wait()
        return self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
