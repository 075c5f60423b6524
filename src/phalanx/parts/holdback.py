"""Hold-back queues: what is received and not yet delivered, and what may be delivered next, for each order.

A queue knows batches only by the four attributes of `Batch`.  `ready` takes what the rules allow; `rest` takes what a
decided cut still holds when the view ends, in an order on which all members agree wherever the order promises one.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from phalanx.model.clock import Stamp
from phalanx.model.view import Order


class Batch(Protocol):
    """What a queue must know of a batch: whose it is, its number, its stamp, and what it comes after."""

    @property
    def author(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def stamp(self) -> Stamp: ...
    @property
    def after(self) -> tuple[int, ...]: ...


B = TypeVar("B", bound=Batch)


class Holdback(Generic[B]):
    """Per author a queue of received batches in number order without gaps; `delivered[author]` is the last taken."""

    __slots__ = ("delivered", "pending")

    def __init__(self, size: int) -> None:
        self.pending: list[deque[B]] = [deque() for _ in range(size)]
        self.delivered = [0] * size

    def add(self, batch: B) -> None:
        self.pending[batch.author].append(batch)

    def is_empty(self) -> bool:
        """Everything that was added is taken."""
        for queue in self.pending:  # noqa: SIM110  any() is a call
            if queue:
                return False
        return True

    def skip_to(self, author: int, number: int) -> None:
        """What the author sent up to `number` has come in another way (a snapshot)."""
        queue = self.pending[author]
        while queue and queue[0].number <= number:
            queue.popleft()
        self.delivered[author] = max(self.delivered[author], number)

    def _take(self, queue: deque[B], into: list[B]) -> None:
        batch = queue.popleft()
        self.delivered[batch.author] = batch.number
        into.append(batch)

    def ready(self, stable: Sequence[int], frontier: Stamp, may: Callable[[B], bool] | None) -> list[B]:
        """What may be delivered now.  `stable[author]`: up to which number (the order's own rule if it is not uniform:
        the caller passes what is received); `may`: a further condition, asked last, for the next batch only."""
        raise NotImplementedError

    def rest(self, upto: Sequence[int]) -> list[B]:
        """The remainder of the cut, as the view ends."""
        raise NotImplementedError


class OnReceipt(Holdback[B]):
    """Unordered and FIFO: each sender's batches in the order sent."""

    __slots__ = ()

    def ready(self, stable: Sequence[int], frontier: Stamp, may: Callable[[B], bool] | None) -> list[B]:  # noqa: ARG002  the order needs no clock
        taken: list[B] = []
        for author, queue in enumerate(self.pending):
            limit = stable[author]
            while queue and queue[0].number <= limit and (may is None or may(queue[0])):
                self._take(queue, taken)
        return taken

    def rest(self, upto: Sequence[int]) -> list[B]:
        return self.ready(upto, 0, None)


class Causal(Holdback[B]):
    """A batch follows all that its author had delivered when it sent it (Birman, Schiper, Stephenson 1991)."""

    __slots__ = ()

    def ready(self, stable: Sequence[int], frontier: Stamp, may: Callable[[B], bool] | None) -> list[B]:  # noqa: ARG002  vector clocks order it
        taken: list[B] = []
        progress = True
        while progress:
            progress = False
            for author, queue in enumerate(self.pending):
                while queue and queue[0].number <= stable[author] and self._due(queue[0]):
                    if may is not None and not may(queue[0]):
                        break
                    self._take(queue, taken)
                    progress = True
        return taken

    def _due(self, batch: B) -> bool:
        return all(
            have >= need
            for author, (have, need) in enumerate(zip(self.delivered, batch.after, strict=True))
            if author != batch.author
        )

    def rest(self, upto: Sequence[int]) -> list[B]:
        """What depends on something outside the cut is dropped, with its sender's later batches (counter-example
        14)."""
        return self.ready(upto, 0, None)


class Total(Holdback[B]):
    """The least (stamp, rank) that is stable and that nobody can precede any more (Lamport 1978)."""

    __slots__ = ()

    def _first(self) -> deque[B] | None:
        first: deque[B] | None = None
        for queue in self.pending:  # authors are in order of rank, so < keeps the elder on equal stamps
            if queue and (first is None or queue[0].stamp < first[0].stamp):
                first = queue
        return first

    def ready(self, stable: Sequence[int], frontier: Stamp, may: Callable[[B], bool] | None) -> list[B]:
        taken: list[B] = []
        while (queue := self._first()) is not None:
            batch = queue[0]
            if batch.stamp > frontier or batch.number > stable[batch.author] or (may is not None and not may(batch)):
                break
            self._take(queue, taken)
        return taken

    def rest(self, upto: Sequence[int]) -> list[B]:
        batches = [b for queue in self.pending for b in queue if b.number <= upto[b.author]]
        batches.sort(key=lambda b: (b.stamp, b.author))
        for batch in batches:
            self.delivered[batch.author] = batch.number
        for author, queue in enumerate(self.pending):
            while queue and queue[0].number <= upto[author]:
                queue.popleft()
        return batches


def holdback(order: Order, size: int) -> Holdback[B]:
    """The queue of a group's order.  Over links that keep the order of what one sender sends, unordered delivery on
    receipt and FIFO are one thing."""
    match order:
        case Order.TOTAL:
            return Total(size)
        case Order.CAUSAL:
            return Causal(size)
        case Order.FIFO | Order.UNORDERED:
            return OnReceipt(size)
