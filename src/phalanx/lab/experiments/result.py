"""What an experiment finds: tables, figures, stories, and the claims that it holds against its sources."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from phalanx.lab.figures.model import Figure

Cell = str | int | float | bool


class Table(msgspec.Struct, frozen=True):
    """Rows as they are printed.  Numbers keep all their digits; whoever prints rounds them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), f"{self.title}: a row does not fit"


class Claim(msgspec.Struct, frozen=True):
    """One thing that a source says, and what was found when it was executed."""

    text: str
    source: str
    """Paper or slide, with its section, figure or theorem."""
    expected: str
    found: str
    holds: bool


class Story(msgspec.Struct, frozen=True):
    """One run for a reader, message by message."""

    title: str
    lines: tuple[str, ...]


class Result(msgspec.Struct, frozen=True):
    """All of it.  `figures` by the name of their file, without suffix."""

    tables: tuple[Table, ...]
    figures: dict[str, Figure]
    claims: tuple[Claim, ...]
    stories: tuple[Story, ...] = ()

    @property
    def holds(self) -> bool:
        """Every claim was found to be so, and there is one."""
        return bool(self.claims) and all(claim.holds for claim in self.claims)


class Experiment(NamedTuple):
    """One entry of the laboratory's list."""

    name: str
    title: str
    text: str
    """Question, method, source, and what is expected: the text of its module."""
    run: Callable[[bool], Result]
    """Executes it; True asks for the full form, which takes longer and sees more.  No more than its argument decides the
    result.  Raises ConfigurationError if a library is missing that it needs."""


def equal(text: str, source: str, expected: object, found: object) -> Claim:
    """A claim that holds if both are equal."""
    return Claim(text, source, str(expected), str(found), expected == found)


def near(text: str, source: str, expected: float, found: float, margin: float) -> Claim:
    """A claim about a measured number: it holds if it is within `margin` of the expected one."""
    return Claim(text, source, f"{expected:.6g} ± {margin:.2g}", f"{found:.6g}", abs(expected - found) <= margin)
