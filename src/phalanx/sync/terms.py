"""What recipes hold, for threads: once, or term after term.  See `phalanx.api.recipes.terms`."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

from phalanx.api.recipes import terms as aio
from phalanx.sync.background import Background, Block, iterated

A = TypeVar("A")
B = TypeVar("B")


class Holding(Block[A, B]):
    """What recipes return: a context manager for one block, or for many by `terms`."""

    def __init__(self, background: Background, make: Callable[[], aio.Holding[A]], wrap: Callable[[A], B]) -> None:
        super().__init__(background, make, wrap)
        self._holding = make

    def terms(self) -> Iterator["Term[A, B]"]:
        """Hold it while a block runs, and again if it was lost.

            for term in recipes.lead(store, b"primary", b"host-a").terms():
                with term as held:
                    while work.goes_on():
                        held.check()            # raises LeaseLost: the block is left, and begun anew when it leads again

        As in `phalanx.recipes`, but a loss cannot stop the block: one that comes to its end although what it held was
        lost is followed by another term, and so is one that is left with `LeaseLost` or `Fenced` of that.
        """
        for term in iterated(self._background, self._holding().terms()):
            yield Term(self._background, term, self._wrap)


class Term(Block[A, B]):
    """One term: as `phalanx.recipes.Term`.  For one block."""

    def __init__(self, background: Background, term: aio.Term[A], wrap: Callable[[A], B]) -> None:
        super().__init__(background, lambda: term, wrap)
        self._term = term

    @property
    def after(self) -> BaseException | None:
        """What ended the term before; None: there was none."""
        return self._term.after

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        super().__exit__(kind, error, trace)
        return aio.is_loss(error)  # of this term: that of another is raised by now

    def _left_with(self, error: BaseException) -> BaseException:
        return error if aio.is_loss(error) else super()._left_with(error)
