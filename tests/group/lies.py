"""Messages altered as a faulty member might: every part of them, to any value."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from phalanx.group.messages import (
    Accept,
    Accepted,
    Ack,
    Alive,
    Chunk,
    Commit,
    Data,
    Envelope,
    Fetch,
    Gather,
    Nack,
    Prepare,
    Promise,
    Pull,
    Refuse,
    Row,
    Wish,
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode
_plain = msgspec.msgpack.Decoder().decode

HOSTILE: tuple[int, ...] = (-(1 << 63), -1, 0, 1, 2, 255, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
BODIES: tuple[type, ...] = (
    *(Data, Row, Ack, Alive, Wish, Refuse, Prepare, Promise, Nack, Gather, Pull),
    *(Accept, Accepted, Commit, Fetch, Chunk),
)


def places(tree: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Where the leaves and lists of a message are."""
    if path:
        yield path
    if isinstance(tree, list):
        for index, branch in enumerate(tree):
            yield from places(branch, (*path, index))


def altered_leaf(rng: random.Random, leaf: Any) -> Any:
    """Another value, mostly of the same type."""
    match leaf:
        case bool():
            return not leaf
        case int():
            return rng.choice((*HOSTILE, leaf + 1, leaf - 1))
        case str():
            return rng.choice(("", "x", "a", "b", "n0", leaf + "z", "y" * 10_000))
        case bytes():
            return rng.choice((b"", b"\xff\xff", leaf + b"x", leaf[:-1]))
        case list():
            copies = list(leaf)
            if copies and rng.random() < 0.7:
                index = rng.randrange(len(copies))
                copies[index : index + 1] = rng.choice(([], [copies[index], copies[index]]))
                return copies
            return rng.choice(([], [*copies, rng.choice(HOSTILE)]))
        case _:
            return [rng.choice(HOSTILE), "a", 1]  # a ballot where there was none


def altered(rng: random.Random, envelope: Envelope) -> Envelope | None:
    """A message of the same shape with a few other values; None if no decoder would take it."""
    tree = _plain(_encode(envelope))
    part = tree[3] if rng.random() < 0.9 else tree[2]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *path, last = rng.choice([p for p in places(part) if p != (0,)])
        branch = part
        for index in path:
            branch = branch[index]
        branch[last] = altered_leaf(rng, branch[last])
        if not list(places(part)):
            break
    try:
        message = _decode(_encode(tree))
    except (msgspec.ValidationError, OverflowError):
        return None
    return message if message != envelope else None
