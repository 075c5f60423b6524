"""The list of mutants, and how one is planted."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple


class Patch(NamedTuple):
    """The attribute of a class or module that is replaced, and what by."""

    owner: Any
    attribute: str
    wrong: Any


class Mutant(NamedTuple):
    """A rule that is taken out."""

    number: int
    """Of the counter-example in DESIGN section 13; 0: that of ARCHITECTURE, decision 5."""
    patches: tuple[Patch, ...]


MUTANTS: dict[str, Mutant] = {}
"""By name: what the code does instead of the right thing."""


@contextmanager
def planted(*names: str) -> Iterator[None]:
    """Run the block without the rules that these mutants lack."""
    with ExitStack() as stack:
        for name in names:
            for owner, attribute, wrong in MUTANTS[name].patches:
                stack.callback(setattr, owner, attribute, vars(owner)[attribute])
                setattr(owner, attribute, wrong)
        yield


def mutant(name: str, number: int, *patches: tuple[Any, str, Any]) -> None:
    """Register a mutant; each patch is an owner, the name of its attribute, and what replaces it."""
    for owner, attribute, _ in patches:
        assert attribute in vars(owner), f"{name}: there is no {attribute} to replace"
    MUTANTS[name] = Mutant(number, tuple(Patch(*patch) for patch in patches))
