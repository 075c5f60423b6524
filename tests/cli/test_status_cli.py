"""What `phalanx status` shows of the versions of replicated objects."""

import pytest

from phalanx.cli.status import _show
from phalanx.model.view import Member
from phalanx.node.status import GroupStatus, Status

A = Member("a", "a:1", 1)


def status(*groups: GroupStatus) -> Status:
    return Status("a", "a:1", 1, "member", "1", 3, (A,), (), (), 0, False, groups)


def group(name: str, version: int, versions: dict[str, int], upgrade: str = "") -> GroupStatus:
    rest = (1, "total", tuple(versions), (), "host", True, 0)
    return GroupStatus(name, *rest, version=version, versions=versions, upgrade=upgrade)


def test_the_version_that_a_group_runs_is_shown_with_those_that_its_hosts_can_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    why = "Account is to go from version 1 to 2 once c can run that"
    known = status(group("Account", 1, {"a": 2, "b": 2, "c": 1}, why), group("Other", 3, {"a": 3}))
    unknown = status(group("Account", 0, {}), group("Plain", 0, {}))
    _show({"a:1": known, "b:1": unknown})
    lines = [line.split() for line in capsys.readouterr().out.replace("\u2502", " ").splitlines()]
    assert ["Account", "total", "1", "(a:2", "b:2", "c:1)"] in lines, "a node that does not know says nothing of it"
    assert ["Other", "total", "a", "3"] in lines
    assert ["Plain", "total"] in lines
    assert why.split() in lines
