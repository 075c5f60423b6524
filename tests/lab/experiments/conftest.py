"""Tests that look at the same runs go to one worker of pytest-xdist (`--dist loadgroup`), so that each is made once."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Those that use `runs.short` are one group."""
    if isinstance(item, pytest.Function) and hasattr(item.module, "short"):
        item.add_marker(pytest.mark.xdist_group("experiments"))
