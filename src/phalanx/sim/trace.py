"""A run, written down so that it can be read."""

import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from phalanx.model.clock import SECOND
from phalanx.model.machine import LinkDown, LinkUp, Output, Received, Refused, Send
from phalanx.sim.node import Node

LINES_MAX = 200_000
"""Lines that a trace keeps by default; the oldest go first, since the end of a failed run is what one reads."""

VALUE_MAX = 300
"""Characters of one value that are shown."""


class Trace:
    """Lines `time node  events -> what the step wrote, sent, delivered and noted`.

    `!` marks eager sends; sends and deliveries of a step that wrote, or that wait for an earlier write, are shown where
    they are asked for, and a line `durable` says when they left.
    """

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self.lines: deque[str] = deque(maxlen=lines_max)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def say(self, now_ns: int, text: str) -> None:
        self.lines.append(f"{_time(now_ns)} {text}")

    def step(self, now_ns: int, node: Node, events: Sequence[Any], output: Output) -> None:
        came = ", ".join(map(show, events)) or "tick"
        did = [f"write {show(write)}" for write in output.writes[-1:]]
        did += [_sent("send!", send) for send in output.eager]
        did += [_sent("send", send) for send in output.sends]
        did += [f"deliver {show(delivery)}" for delivery in output.deliveries]
        did += [f"note {note}" for note in output.notes]
        self.lines.append(f"{_time(now_ns)} {node.name:<4} {came} -> {'; '.join(did) or 'nothing'}")

    def release(self, now_ns: int, node: Node, output: Output) -> None:
        left = len(output.sends) + len(output.deliveries)
        if output.writes or left:
            self.lines.append(f"{_time(now_ns)} {node.name:<4} durable, released {left}")


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
