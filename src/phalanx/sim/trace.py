"""A run, written down so that it can be read."""

import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from phalanx.model.clock import SECOND
from phalanx.model.machine import LinkDown, LinkUp, Output, Received, Refused, Send
from phalanx.model.view import Name
from phalanx.sim.node import Node
from phalanx.sim.recording import Recording

LINES_MAX = 200_000
"""Lines that a trace keeps by default; the oldest go first, since the end of a failed run is what one reads."""

VALUE_MAX = 300
"""Characters of one value that are shown."""


class Trace:
    """Lines `time node  events -> what the step wrote, sent, delivered and noted`.

    `!` marks eager sends; sends and deliveries of a step that wrote, or that wait for an earlier write, are shown where
    they are asked for, and a line `durable` says when they left.

    recording: gets the same as values.
    """

    def __init__(self, lines_max: int = LINES_MAX, recording: Recording | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=lines_max)
        self.recording = recording

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def tell(self, now_ns: int, what: str, detail: tuple[Any, ...]) -> None:
        """The world's doing."""
        self._add(now_ns, " ".join(("---", what, *map(str, detail))))
        if self.recording is not None:
            self.recording.told(what, detail)

    def fail(self, now_ns: int, kind: str, text: str) -> None:
        """Something that must never happen."""
        self._add(now_ns, f"FAILURE {kind}: {text}")
        if self.recording is not None:
            self.recording.failed(kind, text)

    def step(self, now_ns: int, node: Node, events: Sequence[Any], output: Output) -> None:
        came = ", ".join(map(show, events)) or "tick"
        did = [f"write {show(write)}" for write in output.writes[-1:]]
        did += [_sent("send!", send) for send in output.eager]
        did += [_sent("send", send) for send in output.sends]
        did += [f"deliver {show(delivery)}" for delivery in output.deliveries]
        did += [f"note {note}" for note in output.notes]
        self._add(now_ns, f"{came} -> {'; '.join(did) or 'nothing'}", node.name)
        if self.recording is not None:
            self.recording.stepped(node, events, output)

    def release(self, now_ns: int, node: Node, output: Output) -> None:
        left = len(output.sends) + len(output.deliveries)
        if output.writes or left:
            self._add(now_ns, f"durable, released {left}", node.name)
        if self.recording is not None:
            self.recording.released(node, output)

    def _add(self, now_ns: int, text: str, name: Name = "") -> None:
        self.lines.append(f"{_time(now_ns)} {name:<4} {text}" if name else f"{_time(now_ns)} {text}")
        if self.recording is not None:
            self.recording.wrote(now_ns, name, text)


def _time(now_ns: int) -> str:
    return f"{now_ns // SECOND:>4}.{now_ns % SECOND // 1000:06}"


def _sent(how: str, send: Send) -> str:
    return f"{how} {','.join(send.to)} {show(send.message)}"


def show(event: Any) -> str:
    """One event, compactly."""
    match event:
        case Received(source, message):
            text = f"{source or '?'}: {message!r}"
        case LinkUp(address):
            text = f"up {address}"
        case LinkDown(address):
            text = f"down {address}"
        case Refused(address):
            text = f"refused {address}"
        case _:
            text = repr(event)
    return text if len(text) <= VALUE_MAX else f"{text[: VALUE_MAX - 3]}..."


def where(error: BaseException) -> str:
    """File and line that raised, without the folders of this machine."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "nowhere"
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}"
