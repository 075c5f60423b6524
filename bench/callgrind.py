"""Machine instructions of one workload, by valgrind's callgrind: deterministic too, and it sees C and compiled modules.

A workload is run twice, with more and with fewer rounds, so that start and warm-up cancel out.  What the lockstep itself
does is in the figure: use it to compare, of two versions or of compiled modules and Python sources.
"""

import os
import re
import shutil
import subprocess
import sys

FEWER, MORE = 20, 120
"""Rounds."""


def is_installed() -> bool:
    """Whether there is a valgrind to use."""
    return shutil.which("valgrind") is not None


def machine_instructions(workload: str, members: int, per_round: int) -> float:
    """For each message or operation.  Raises OSError if valgrind does not do its work."""
    totals = [_total(workload, members, rounds) for rounds in (FEWER, MORE)]
    return (totals[1] - totals[0]) / ((MORE - FEWER) * per_round)


def _total(workload: str, members: int, rounds: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", "bench.counts"]
    command += ["--bare", str(rounds), "--only", workload, "--members", str(members)]
    ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    found = re.search(r"Collected\s*:\s*(\d+)", ended.stderr)
    if ended.returncode or found is None:
        raise OSError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return int(found[1])
