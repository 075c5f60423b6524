"""docs/migrating.md moves a user over recipe by recipe: what it names of ours is in its program, which test_docs runs."""

import ast
import inspect
import re

import pytest

from phalanx import recipes, txn
from phalanx.api.store import Store
from tests.source import ROOT
from tests.test_docs import blocks_in, program_in

GUIDE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")

OURS = {name for thing in (Store, txn) for name in vars(thing) if not name.startswith("_")} | {*recipes.__all__}

KAZOO = {
    "Barrier",
    "ChildrenWatch",
    "Counter",
    "DataWatch",
    "DoubleBarrier",
    "Election",
    "Lock",
    "LockingQueue",
    "Party",
    "Queue",
    "ReadLock",
    "Semaphore",
    "SetPartitioner",
    "TreeCache",
    "WriteLock",
}
"""Its recipes."""

ETCD = {"Barrier", "DoubleBarrier", "Election", "PriorityQueue", "RWMutex", "STM"}
"""Those that are made by a function `NewBarrier`, and so on, in its packages `concurrency` and `recipe`."""


def used_in(program: str) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Attribute)}


def promised_in(guide: str) -> set[str]:
    """What of ours stands on the right of its tables."""
    rights = [row.rpartition(" | ")[2] for row in guide.splitlines() if row.startswith("| ")]
    spans = [span for right in rights for span in re.findall(r"`([^`]+)`", right)]
    return {word for span in spans for word in re.findall(r"\w+", span)} & OURS


def test_whatever_the_tables_offer_is_in_the_program() -> None:
    assert len(promised_in(GUIDE)) > 40, "or it would show nothing"
    assert promised_in(GUIDE) - used_in(program_in(GUIDE)) == set()


def test_every_recipe_is_in_the_program() -> None:
    functions = {name for name in recipes.__all__ if inspect.isfunction(getattr(recipes, name))}
    made = {"Config", "Counter", "PriorityQueue", "Queue", "UniqueIds"}
    assert (functions | made) - used_in(program_in(GUIDE)) == set()


@pytest.mark.parametrize("name", sorted(KAZOO))
def test_every_recipe_of_kazoo_is_beside_ours(name: str) -> None:
    shown = "".join(block.text for block in blocks_in(GUIDE) if block.info == "text")
    assert re.search(rf"\b(zk\.{name}|{name})\(", shown)


@pytest.mark.parametrize("name", sorted(ETCD))
def test_every_recipe_of_etcd_is_beside_ours(name: str) -> None:
    shown = "".join(block.text for block in blocks_in(GUIDE) if block.info == "text")
    assert f".New{name}(" in shown


def test_a_recipe_that_is_only_named_is_found() -> None:
    guide = "| kazoo | here |\n|---|---|\n| `Lock` | `recipes.lock` or `store.get` |\n```python\nstore.get(1)\n```\n"
    assert promised_in(guide) - used_in(program_in(guide)) == {"lock"}
