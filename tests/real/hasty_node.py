"""`phalanx serve`, with a planted bug: its log says that it is synced before it is (SCENARIOS 3).  Not a test."""

import asyncio

from phalanx.cli.main import main
from phalanx.runtime.contract import Stored
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.kernelsync import KernelSync


def _at_once(self: KernelSync, file: int, done: Stored) -> None:  # noqa: ARG001  what it takes
    asyncio.get_running_loop().call_soon(done, None)


def _not_at_all(self: PosixFiles, name: str) -> None:
    """Skipped."""


if __name__ == "__main__":  # else whoever imports all modules has the bug as well
    KernelSync.sync = _at_once  # type: ignore[method-assign]  # that is the planted bug
    PosixFiles.sync = _not_at_all  # type: ignore[method-assign]  # and here
    main()
