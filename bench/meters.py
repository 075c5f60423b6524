"""What the work of machines costs an interpreter, counted rather than timed: the same in every run of one Python."""

import gc
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import phalanx
from bench.lockstep import Meter, Port

HERE = str(Path(__file__).parent)
"""What belongs to the measurement itself is not counted."""

PACKAGE = Path(phalanx.__file__).parent


class Instructions(Meter):
    """Bytecode instructions and calls of Python functions, ours and the library's, in the work of nodes and of clients.
    What C functions do (encoding, hashing, searching) is not seen: bytes and frames tell of that."""

    def __init__(self) -> None:
        super().__init__()
        self._instructions = 0
        self._calls = 0

    def begin(self, port: Port) -> None:  # noqa: ARG002  all ports alike
        sys.settrace(self._trace)

    def end(self, port: Port) -> None:
        sys.settrace(None)
        whose = "client " if port.is_client else ""
        self.counts[f"{whose}instructions"] += self._instructions
        self.counts[f"{whose}calls"] += self._calls
        self._instructions = self._calls = 0

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002  as Python calls it
        if event == "opcode":
            self._instructions += 1
        elif event == "call":
            if frame.f_code.co_filename.startswith(HERE):
                return None
            self._calls += 1
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self._trace


class Places(Instructions):
    """The same of nodes' work, by where the instructions are."""

    def __init__(self) -> None:
        super().__init__()
        self._files: Counter[str] = Counter()
        self._is_client = False

    @property
    def places(self) -> Counter[str]:
        """By module: its path below the directory of the package, or the name of a file that is none of ours."""
        found: Counter[str] = Counter()
        for name, number in self._files.items():
            path = Path(name)
            found[str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name] += number
        return found

    def begin(self, port: Port) -> None:
        self._is_client = port.is_client
        super().begin(port)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode" and not self._is_client:
            self._files[frame.f_code.co_filename] += 1
        return super()._trace(frame, event, argument)


class Blocks(Meter):
    """Blocks of memory that outlive the piece of work (decoding, a step, encoding) that allocated them: messages, events,
    outputs, state.  What is allocated and freed within one piece is not seen.  The collector is not to run meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0

    def begin(self, port: Port) -> None:  # noqa: ARG002  all ports alike
        self._before = sys.getallocatedblocks()

    def end(self, port: Port) -> None:
        whose = "client " if port.is_client else ""
        self.counts[f"{whose}blocks"] += max(0, sys.getallocatedblocks() - self._before)


def allocated() -> int:
    """Blocks of memory in use, when everything is freed that nobody can reach."""
    gc.collect()
    return sys.getallocatedblocks()
