"""Classes that are fit to be replicated, and some that are not, each for one reason."""

import logging
import random
import sys
import time
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec

from phalanx.model.replicated import OUTSIDE, Context, command, query


class Short(Exception):
    """There is not enough money; its argument says how much there is."""


class Bank:
    """Right: commands that raise, before and after they have changed something."""

    accounts: dict[str, int]

    def __init__(self) -> None:
        self.accounts = {}

    @command
    def deposit(self, name: str, amount: int) -> int:
        self.accounts[name] = self.accounts.get(name, 0) + amount
        return self.accounts[name]

    @command(raises=(Short,))
    def transfer(self, source: str, target: str, amount: int) -> None:
        self.deposit(target, amount)
        if self.accounts.get(source, 0) < amount:
            raise Short(self.accounts.get(source, 0))
        self.accounts[source] -= amount

    @query
    def total(self) -> int:
        return sum(self.accounts.values())

    @query
    def balance(self, name: str) -> int:
        return self.accounts[name]


class Kind(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Item:
    kind: Kind
    tags: frozenset[str]
    parent: "Item | None" = None


class Where(NamedTuple):
    shelf: int
    row: Literal["left", "right"] = "left"


class Shop:
    """Right: time passes, tokens are used, arguments and results of all kinds; it logs."""

    items: dict[int, Item]
    places: list[Where]
    until_ms: int
    ended: int
    held: set[str]

    def __init__(self) -> None:
        self.items, self.places, self.until_ms, self.ended, self.held = {}, [], 0, 0, set()

    @command
    def add(self, item: Item, *, context: Context = OUTSIDE) -> int:
        logging.getLogger(__name__).debug("adding %s", item)
        self.items[context.token] = item
        return context.token

    @command(atomic=True)
    def place(self, where: Where, *, level: Annotated[int, msgspec.Meta(ge=3, le=5)] = 4) -> None:
        if where.shelf < 0:
            raise ValueError(where.shelf)
        assert 3 <= level <= 5
        self.places.append(where)

    @command
    def hold(self, names: list[str], *, context: Context = OUTSIDE) -> list[str]:
        self.held.update(names)
        self.until_ms = context.time_ms + 500
        return sorted(self.held)

    @query
    def state(self, seen: dict[str, float | None] | None = None) -> tuple[int, set[str]]:
        del seen
        return self.ended, self.held

    def due_ms(self) -> int | None:
        return self.until_ms or None

    def tick(self, context: Context) -> None:
        assert context.time_ms >= self.until_ms
        self.until_ms = 0
        self.ended += 1
        self.held.clear()


class Fuse:
    """All commands are atomic, and a tick may raise when it is half done: no copy of the state is kept for that."""

    until_ms: int = 0
    burnt: int = 0
    damp: bool = False

    @command(atomic=True)
    def light(self, damp: bool, *, context: Context = OUTSIDE) -> int:
        self.until_ms, self.damp = context.time_ms + 200, damp
        return self.burnt

    @query
    def read(self) -> int:
        return self.burnt

    def due_ms(self) -> int | None:
        return self.until_ms or None

    def tick(self, context: Context) -> None:
        assert context.time_ms >= self.until_ms
        self.until_ms = 0
        self.burnt += 1
        if self.damp:
            sys.exit("damp")


class Dice:
    """Wrong: chance."""

    eyes: int = 0

    @command
    def throw(self) -> int:
        self.eyes = random.randint(1, 6)
        return self.eyes


class Clock:
    """Wrong: a clock so coarse that no two runs here differ."""

    century: int = 0

    @command
    def look(self) -> None:
        self.century = int(time.time()) // (100 * 365 * 86_400)


class Stopwatch:
    """Wrong: a clock, in a query too."""

    started: float = 0.0

    @command
    def start(self) -> None:
        self.started = time.monotonic()

    @query
    def read(self) -> float:
        return time.monotonic() - self.started


class Tags:
    """Wrong: the order of a set of strings."""

    tags: set[str]

    def __init__(self) -> None:
        self.tags = set()

    @command
    def add(self, tag: str) -> None:
        self.tags.add(tag)

    @command
    def pop(self) -> str | None:
        return self.tags.pop() if self.tags else None


class Shared:
    """Wrong: a list in the class body is that of all instances."""

    lines: list[str] = []  # noqa: RUF012  that is the planted bug

    @command
    def write(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


class Fading:
    """Wrong as long as it has `left`: how often that is no seed decides."""

    left: ClassVar[int] = 0
    value: int = 0

    @command
    def add(self, amount: int) -> int:
        if Fading.left > 0:
            Fading.left -= 1
            return Fading.left
        self.value += amount
        return self.value


SEEN: set[int] = set()


class Global:
    """Wrong: a command that is remembered outside of the state, so a second replica does not run it."""

    count: int = 0

    @command
    def add(self, *, context: Context = OUTSIDE) -> int:
        if context.token not in SEEN:
            SEEN.add(context.token)
            self.count += 1
        return self.count


READ: dict[str, int] = {}


class Remembering:
    """Wrong: a query that answers from what is kept outside of the state.  All replicas of a process share it."""

    stock: dict[str, int]

    def __init__(self) -> None:
        self.stock = {}

    @command
    def put(self, name: str, count: int) -> None:
        self.stock[name] = count

    @query
    def get(self, name: str) -> int:
        return READ.setdefault(name, self.stock.get(name, 0))


@dataclass
class Page:
    text: str
    changed: int = 0


class Ledger:
    """Wrong: chance decides; and all its pages together are more than a report shows."""

    pages: list[Page]

    def __init__(self) -> None:
        self.pages = [Page(f"{number} is as it should be") for number in range(30)]

    @command
    def change(self, number: Annotated[int, msgspec.Meta(ge=10, le=20)]) -> None:
        self.pages[number].changed = random.getrandbits(32)


class Forgetful:
    """Wrong: its snapshot leaves out the half of the state, so a replica that was restored has lost updates."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.total = 0

    @command
    def add(self, name: str) -> int:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.total += 1
        return self.total

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self.counts)

    def restore(self, data: bytes) -> None:
        self.counts = msgspec.msgpack.decode(data)


class Cached:
    """Wrong: a query that fills a cache which is part of the state."""

    values: list[int]
    largest: int | None = None

    def __init__(self) -> None:
        self.values = []

    @command
    def add(self, value: int) -> None:
        self.values.append(value)
        self.largest = None

    @query
    def maximum(self) -> int:
        if self.largest is None:
            self.largest = max(self.values, default=0)
        return self.largest


class Hasty:
    """Wrong: it promises to be atomic, and changes something before it raises."""

    count: int = 0

    @command(atomic=True)
    def add(self, amount: int) -> int:
        self.count += amount
        if amount < 0:
            raise ValueError(amount)
        return self.count


class Liar:
    """Wrong: the annotation of the result is not true."""

    @command
    def name(self) -> str:
        return 3  # type: ignore[return-value]  # that is the planted bug


class Moody:
    """Wrong: what it raises depends on the process."""

    moods = 0
    count: int = 0

    @command
    def add(self) -> int:
        Moody.moods += 1
        if Moody.moods % 3 == 0:
            raise KeyError(Moody.moods)
        if Moody.moods % 3 == 1:
            raise ValueError(Moody.moods)
        self.count += 1
        return self.count


class Twins:
    """Wrong: one list in two places, which are two once the state was restored."""

    left: list[int]
    right: list[int]

    def __init__(self) -> None:
        self.left = self.right = []

    @command
    def add(self, value: int) -> int:
        self.left.append(value)
        return len(self.right)


class Limiter:
    """Wrong: whom it let pass lately is not in its snapshot.  Alone it is asked once in a second, so nothing shows."""

    def __init__(self) -> None:
        self.passed = 0
        self.lately: list[int] = []

    @command
    def ask(self, *, context: Context = OUTSIDE) -> bool:
        self.lately = [time_ms for time_ms in self.lately if time_ms > context.time_ms - 900]
        if len(self.lately) >= 3:
            return False
        self.lately.append(context.time_ms)
        self.passed += 1
        return True

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self.passed)

    def restore(self, data: bytes) -> None:
        self.passed = msgspec.msgpack.decode(data)
