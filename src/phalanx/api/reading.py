"""One reader at a time: of a group's messages, or of a channel's."""

import asyncio
from collections.abc import Callable

LEFT_TURNS = 10
"""Turns of the event loop within which it closes an iteration that was left by `break` (PEP 525): it takes some four."""


async def until_left(is_read: Callable[[], bool]) -> bool:
    """Wait for an iteration that was left a moment ago.  Whether there is no reader now."""
    for _ in range(LEFT_TURNS):
        if not is_read():
            return True
        await asyncio.sleep(0)
    return not is_read()
