"""`phalanx status`: what it says besides its tables, and of the versions of replicated objects."""

import msgspec
import pytest

from phalanx.cli.status import _show
from phalanx.model.view import Member
from phalanx.node.status import GroupStatus, Status

A = Member("a", "a:1", 1)
HERE = Member("c", "c:1", 5)


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


def test_what_nodes_wait_for_and_what_held_them_up_is_told_below_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    waits = "waits for a quorum of its last view, 7 (a b c): missing a and b"
    out = Status("c", "c:1", 5, "out", "", -1, (), (), (), 0, False, (), waits=waits, slow={"Sums.add": 3})
    well = Status("d", "d:1", 6, "member", "c0ffee", 8, (HERE,), (), (), 0, False, ())
    _show({"c:1": out, "d:1": well, "e:1": None})
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"c {waits}",
        "Sums.add took longer than a heartbeat at c, 3 times",
    ]


def test_clocks_that_are_wrong_are_told_of_below_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """SCENARIOS 26."""

    def told(name: str, **clocks: int) -> Status:
        return msgspec.structs.replace(status(), node=name, **clocks)

    _show({"a:1": told("a", clock_ms=500), "b:1": told("b", clock_ms=-86_400_000), "c:1": told("c", clock_ms=1_500)})
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "b's clock is 86,400.0 s behind the median of the members' clocks",
        "c's clock is 1.5 s ahead of the median of the members' clocks",
    ]
    _show({"a:1": told("a", time_ahead_ms=3_600_040), "b:1": told("b", time_ahead_ms=3_600_030)})
    ahead = (
        "the groups' time is 3,600.0 s ahead of the members' clocks, and goes at half speed until they have caught up"
    )
    assert capsys.readouterr().out.splitlines()[-1] == ahead
    _show({"a:1": told("a", time_ahead_ms=40), "b:1": told("b")})
    assert "ahead" not in capsys.readouterr().out, "what messages took"


def test_the_cluster_is_named_and_two_of_them_with_their_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    one = Status("a", "a:1", 1, "member", "c0ffee", 3, (A,), (), (), 0, False, ())
    other = Status("c", "c:1", 5, "member", "beef", 8, (HERE,), (), (), 0, False, ())
    outside = Status("d", "d:1", 6, "out", "", -1, (), (), (), 0, False, ())
    _show({"a:1": one, "d:1": outside, "e:1": None})
    assert capsys.readouterr().out.splitlines()[0] == "cluster c0ffee"
    _show({"a:1": one, "c:1": other})
    assert capsys.readouterr().out.splitlines()[:2] == ["cluster c0ffee: a", "cluster beef: c"]
    _show({"d:1": outside})
    assert "cluster" not in capsys.readouterr().out


def test_on_a_terminal_that_is_far_too_narrow_each_cell_has_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "40"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    _show({"127.0.0.1:7400": status(group("Account", 1, {"a": 1})), "127.0.0.1:7401": None})
    text = capsys.readouterr().out
    assert "address   127.0.0.1:7400\nnode      a#1\nstate     member\nview      3\nmembers   a\n" in text
    assert "address   127.0.0.1:7401\nnode      -\nstate     no answer\n\n" in text, "what is empty is left out"
    assert "\u2502 total \u2502" in text, "the table of groups is narrow enough to be folded"
