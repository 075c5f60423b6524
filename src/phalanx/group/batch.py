"""A batch before it has a number, and what payloads count for in windows and limits."""

from collections.abc import Sequence
from typing import Final

WHOLE: Final = -1
"""What is `left` of a batch of whole payloads (see `messages.Data`)."""

PAYLOAD_OVERHEAD: Final = 16
"""What a payload costs besides its bytes: empty ones are not free."""


class Entry:
    """What becomes one batch.  `size`: what its payloads count for; `left`: WHOLE, or how many fragments follow."""

    __slots__ = ("left", "payloads", "size")

    def __init__(self, payloads: list[bytes], size: int, left: int) -> None:
        self.payloads = payloads
        self.size = size
        self.left = left


def size_of(payloads: Sequence[bytes]) -> int:
    """Bytes that the payloads count for."""
    if len(payloads) == 1:
        return len(payloads[0]) + PAYLOAD_OVERHEAD
    return sum(map(len, payloads)) + PAYLOAD_OVERHEAD * len(payloads)
