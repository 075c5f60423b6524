"""Become a command that ends with the process that started it (Linux): `python leash.py PARENT COMMAND...`.

Run as a program of its own, which asks the kernel and then becomes the command, under the same process id.  What
`preexec_fn` of the subprocess libraries would do runs Python between fork and exec: where the parent has other threads
the child may wait for a lock that one of them held, and the parent for the child, with its event loop, for ever.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent ends.  It survives exec."""


def main(parent: int, command: list[str]) -> None:
    """Does not return."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"{command[0]} is not started: process {parent}, for which it would have been, is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
