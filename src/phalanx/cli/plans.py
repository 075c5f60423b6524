"""Folders of plans, one JSON file each: the corpus of a guided search, and plans that failed."""

import hashlib
import os
from pathlib import Path

import msgspec

from phalanx.sim.plan import Plan

NAME_DIGITS = 16
"""Of a digest, in a file's name: a folder would need billions of plans for two to have the same."""


class _Reached(msgspec.Struct):
    """What a file says besides the plan."""

    reach: int = 0


class PlanFolder:
    """The plans of one scenario in a folder, which is made when something is put there.

    A file is named after the scenario and a digest of the plan, so a plan has one file, wherever it comes from.  It is
    one line of JSON: the plan, which `Plan.load` reads, and the reach of its run (`coverage.reach`).
    """

    def __init__(self, folder: Path, scenario: str) -> None:
        self.folder = folder
        self._scenario = scenario

    def load(self) -> list[tuple[Plan, int]]:
        """Each with its reach, 0 if that is not known, in the order of their names.  Raises OSError for what cannot be
        read, ValueError for a file that is no plan."""
        plans = []
        for path in sorted(self.folder.glob(f"{self._scenario}-*.json")) if self.folder.exists() else ():
            try:
                text = path.read_text(encoding="utf-8")
                plans.append((Plan.load(text), msgspec.json.decode(text, type=_Reached).reach))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return plans

    def put(self, plan: Plan, reach: int | None = None) -> Path:
        """The plan's file, written unless it is there, and there only once it is whole: several campaigns may share a
        folder.  Raises OSError."""
        digest = hashlib.sha256(plan.dump().encode()).hexdigest()[:NAME_DIGITS]
        path = self.folder / f"{self._scenario}-{digest}.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            begun = self.folder / f".{path.name}.{os.getpid()}"
            said = msgspec.to_builtins(plan) | ({} if reach is None else {"reach": reach})
            begun.write_text(msgspec.json.encode(said).decode() + "\n", encoding="utf-8")
            begun.replace(path)
        return path
