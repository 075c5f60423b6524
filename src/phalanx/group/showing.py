"""To whom a host or learner owes its row of one group (docs/protocols/multicast.md, rule 11).

What others wait for goes to them at once: the authors of what is kept, whose own deliveries may depend on it, and those
who seem not to know what is here.  The rest are shown it a little later, once for all that has come meanwhile.
"""

from collections.abc import Collection, Iterable

from phalanx.model.view import Name


class Showing:
    """See the module's text."""

    __slots__ = ("_asking", "_knowing", "_news", "_peers", "owed")

    def __init__(self, peers: Collection[Name]) -> None:
        """`peers`: the other hosts and learners."""
        self._peers = frozenset(peers)
        self.owed = False
        """Some peer has not been shown our row as it is."""
        self._news = False
        """Nobody has."""
        self._asking: set[Name] = set()
        self._knowing: set[Name] = set()

    def changed(self) -> None:
        """Our row says more than before."""
        self._news = True
        self.owed = bool(self._peers)

    def asked(self, name: Name) -> None:
        """Our row changed, or may be unknown there, and that peer waits for it."""
        self.owed = self._news = True
        self._asking.add(name)

    def waiting(self, authors: Iterable[Name]) -> set[Name]:
        """Who is to be shown it at once.  `authors`: of what is kept here."""
        return self._asking.union(authors) if self._news else set()

    def unaware(self) -> set[Name]:
        """Who has not been shown our row as it is."""
        return set(self._peers) if self._news else set(self._peers - self._knowing)

    def shown_to(self, names: Iterable[Name]) -> None:
        """Our row was shown to these."""
        if self._news:
            self._news = False
            self._asking.clear()
            self._knowing.clear()
        self._knowing.update(names)
        if self._peers <= self._knowing:
            self.owed = False
