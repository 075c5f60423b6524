"""Classes that replace another one: rightly, and each wrongly for one reason."""

import time

from phalanx.model.replicated import command, query, version


class Names:
    names: set[str]

    def __init__(self) -> None:
        self.names = set()

    @command
    def add(self, name: str) -> bool:
        new = name not in self.names
        self.names.add(name)
        return new

    @query
    def count(self) -> int:
        return len(self.names)


class Ordered:
    """What the versions below have in common."""

    names: list[str]
    at: float

    def __init__(self) -> None:
        self.names = []
        self.at = 0.5

    @command
    def add(self, name: str) -> bool:
        new = name not in self.names
        if new:
            self.names.append(name)
        return new

    @query
    def first(self) -> str:
        return self.names[0] if self.names else ""


@version(2, replaces=Names)
class Sorted(Ordered):
    def upgrade(self, former: Names) -> None:
        self.names = sorted(former.names)


@version(2, replaces=Names)
class Iterated(Ordered):
    """In the order of a set."""

    def upgrade(self, former: Names) -> None:
        self.names = list(former.names)


@version(2, replaces=Names)
class Timed(Ordered):
    """With a clock."""

    def upgrade(self, former: Names) -> None:
        self.names = sorted(former.names)
        self.at = time.time()


@version(2, replaces=Names)
class Picky(Ordered):
    """Not every state."""

    def upgrade(self, former: Names) -> None:
        if len(former.names) > 2:
            raise ValueError("too many names")
        self.names = sorted(former.names)


@version(3, replaces=Iterated)
class Later(Iterated):
    """One step further, from a class that has the fault."""

    note: str = ""
