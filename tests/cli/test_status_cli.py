"""`phalanx status`: what it says besides its tables."""

import pytest

from phalanx.cli.status import _show
from phalanx.model.view import Member
from phalanx.node.status import Status

HERE = Member("c", "c:1", 5)


def test_what_nodes_wait_for_and_what_held_them_up_is_told_below_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    waits = "waits for a quorum of its last view, 7 (a b c): missing a and b"
    out = Status("c", "c:1", 5, "out", "", -1, (), (), (), 0, False, (), waits=waits, slow={"Sums.add": 3})
    well = Status("d", "d:1", 6, "member", "c0ffee", 8, (HERE,), (), (), 0, False, ())
    _show({"c:1": out, "d:1": well, "e:1": None})
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"c {waits}",
        "Sums.add took longer than a heartbeat at c, 3 times",
    ]
