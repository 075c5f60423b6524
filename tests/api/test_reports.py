"""What an operator reads in the log at level INFO: who was there, who was missed, what was waited for."""

import asyncio
import contextlib
import logging
import re
from pathlib import Path

import pytest

from phalanx.api import reports
from phalanx.api.joining import join
from phalanx.api.local import Cluster
from phalanx.model.signals import Note
from phalanx.model.view import Group, GroupSpec, Member, Suspended, View
from phalanx.replication.inflight import ReplicaDiverged
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S, PATIENT
from tests.api.test_arguments import Counter, among
from tests.api.test_unreachable import free_port


def said(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= level)


class Lines(logging.Handler):
    """Tells of each line, on the loop that it is made on."""

    def __init__(self) -> None:
        super().__init__()
        self.come = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002  as logging calls it
        self.come.set()


async def until(caplog: pytest.LogCaptureFixture, pattern: str) -> None:
    """Wait for such a line."""
    lines = Lines()
    reports.log.addHandler(lines)
    try:
        while not re.search(pattern, said(caplog)):
            await lines.come.wait()
            lines.come.clear()
    finally:
        reports.log.removeHandler(lines)


def test_the_end_of_a_cluster_in_one_program_is_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    async def work(cluster: Cluster) -> None:
        await cluster.client().object(Counter, "C").call(Counter.add, 1)

    among(3, work, objects={"C": (Counter, 0)}, timing=PATIENT)
    assert said(caplog, logging.WARNING) == ""


def test_views_and_suspicions_are_told_with_what_changed(caplog: pytest.LogCaptureFixture) -> None:
    async def work(cluster: Cluster) -> None:
        await cluster.kill("b")
        await until(caplog, r"a is in view \d+: a c \(gone: b; group C at a c\)")
        cluster.start("b")
        await until(caplog, r"a is in view \d+: a c b \(.*promoted: b")

    with caplog.at_level(logging.INFO, "phalanx"):
        among(3, work, objects={"C": (Counter, 0)}, timing=PATIENT)
    assert re.search(r"^a is in view 1 of cluster [0-9a-f]+: a b c; groups: C at a b c$", said(caplog), re.MULTILINE)
    assert re.search("^a suspects b$", said(caplog), re.MULTILINE)


def test_a_minority_is_told_of_and_that_it_is_one_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def work(cluster: Cluster) -> None:
        cluster.cut("c", "a")
        cluster.cut("c", "b")
        await until(
            caplog,
            r"c is cut off from a quorum of view \d+ \(\w \w \w\), and takes no writes until enough of a, b answer",
        )
        cluster.heal("c", "a")
        cluster.heal("c", "b")
        await until(
            caplog, r"c was put out of view \d+, and asks to be let in again: |c hears a quorum of view \d+ again"
        )

    with caplog.at_level(logging.INFO, "phalanx"):
        among(3, work, timing=PATIENT)
    assert "c is cut off" in said(caplog, logging.WARNING)


async def starting(**settings: object) -> None:
    """Try to join, in vain."""
    async with asyncio.timeout(PATIENCE_S), join("a", **settings):  # type: ignore[arg-type]  # settings of several types
        raise AssertionError("it joined")


def waits(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pattern: str, **settings: object) -> None:
    async def limited() -> None:
        task = asyncio.create_task(starting(**settings))
        await asyncio.wait_for(until(caplog, pattern), PATIENCE_S)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    monkeypatch.setattr(reports, "WAIT_S", 0.1)
    with caplog.at_level(logging.INFO, "phalanx"):
        run(limited())
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_node_that_nobody_lets_in_says_whom_it_asks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = f"127.0.0.1:{free_port()}"
    pattern = rf"a is in no view: it asks to be let in at {seed}: no answer for 0 s \({seed}: nobody listens there\)"
    waits(caplog, monkeypatch, pattern, seeds=[seed])


def test_a_founder_says_whom_it_waits_for(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = (f"127.0.0.1:{free_port()}" for _ in range(2))
    pattern = rf"it waits for b at {other} of its founders \({other}: nobody listens there\)"
    waits(caplog, monkeypatch, pattern, listen=own, peers=[("a", own), ("b", other)])


def test_a_node_that_comes_back_alone_says_for_which_view(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def three() -> None:
        """Two of them end at once, as by a crash, so that the third is no quorum."""
        stack = contextlib.AsyncExitStack()
        first = await stack.enter_async_context(join("b", bootstrap=True))
        for name, data in (("c", None), ("a", tmp_path)):
            await stack.enter_async_context(join(name, seeds=[first.address], data=data))
        await stack.__aexit__(OSError, OSError("as a crash"), None)

    run(three())
    caplog.clear()
    waits(caplog, monkeypatch, r"it waits for a quorum of its last view, \d+ \(b c a\): missing b and c", data=tmp_path)


def test_being_refused_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async def tell() -> None:
        told = reports.Reports("a", str, str)
        for reason in ("the name is in use", "the name is in use", "it is full"):
            told.not_let_in(reason)

    run(tell())
    assert said(caplog).splitlines() == [
        "a is not let in, and goes on trying: the name is in use",
        "a is not let in, and goes on trying: it is full",
    ]


def test_who_cannot_act_without_missing_anybody_is_not_called_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """As one that leaves is, when the disk delivers its last view late."""
    view = View(1, 4, (Member("a", "a:1", 1), Member("b", "b:1", 1)))

    async def tell() -> None:
        told = reports.Reports("a", str, str)
        told.installed(view)
        told.heard((), True)
        assert "cut off" not in said(caplog)
        told.heard(("b",), True)
        told.heard((), False)

    with caplog.at_level(logging.INFO, "phalanx"):
        run(tell())
    assert said(caplog).splitlines()[1:] == [
        "a suspects b",
        "a is cut off from a quorum of view 4 (a b), and takes no writes until enough of b answer again",
        "a suspects nobody any more",
        "a hears a quorum of view 4 again",
    ]


def test_clocks_that_are_wrong_are_told_of_in_words(caplog: pytest.LogCaptureFixture) -> None:
    """SCENARIOS 26."""
    heard: list[Note] = []
    notes = [
        Note("clock.wrong", (-3_600_000,)),
        Note("clock.right", (20,)),
        Note("time.ahead", (7_200_300,)),
        Note("time.right"),
        Note("prepare", (1, 2)),
    ]
    with caplog.at_level(logging.INFO, "phalanx"):
        assert not reports.Reports("a", str, str).notes(notes, heard.append)
    assert heard == notes
    assert said(caplog).splitlines() == [
        "a: its clock is -3600.0 s from the median of the members' clocks: set right whichever is wrong",
        "a: its clock is right again, +0.0 s from the median",
        "a: the groups' time is 7200.3 s ahead of the members' clocks, which were put back: until these have caught up "
        "it goes at half speed, and leases last up to twice as long",
        "a: the members' clocks have caught up with the groups' time, which is right again",
    ]


def test_what_a_group_went_on_without_is_warned_of_if_it_may_have_been_acknowledged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes = [
        Note("log.left_out", ("KV", 7, 3, False)),
        Note("log.left_out", ("KV", 7, 4, True)),
        Note("log.replaced", ("KV", 7, 5)),
    ]
    with caplog.at_level(logging.INFO, "phalanx"):
        reports.Reports("a", str, str).notes(notes, None)
    ordinary, left_out, replaced = caplog.records
    assert (ordinary.levelno, left_out.levelno, replaced.levelno) == (logging.INFO, logging.WARNING, logging.WARNING)
    assert ordinary.getMessage() == (
        "a: 3 batches of group KV, of view 7, are in the log here, and the group went on without them: "
        "nobody had delivered them"
    )
    assert "a: 4 batches of group KV, of view 7, are in the log here" in left_out.getMessage()
    assert "may have been acknowledged" in left_out.getMessage()
    assert "all batches of view 7 that are in the log here, 5 in number, is not known" in replaced.getMessage()


def test_changes_of_a_view_are_told_in_words() -> None:
    a, b, c, d, again = (Member(name, f"{name}:1", life) for name, life in (*((n, 1) for n in "abcd"), ("b", 2)))
    log, old, new = (
        Group(1, GroupSpec("log"), ("a", "b")),
        Group(2, GroupSpec("old"), ("b",)),
        Group(3, GroupSpec("new"), ("a",)),
    )
    before = View(1, 1, (a, b, c), (d,), (log, old))
    after = View(1, 2, (a, d), (again,), (Group(1, GroupSpec("log"), ("a",), ("b",)), new))
    assert reports.changes_of(before, after) == [
        "gone: c",
        "restarted: b",
        "promoted: d",
        "demoted: b",
        "group log at a (learning: b)",
        "new group new at a",
        "group old is no more",
    ]
    assert reports.changes_of(before, View(1, 2, (a, b, c), (d,), (log, old))) == []


def test_a_divergence_is_told_in_words(caplog: pytest.LogCaptureFixture) -> None:
    found = reports.Reports("a", str, str)
    found.found(ReplicaDiverged("C", 0, 1024, ("b",), False))
    found.found(ReplicaDiverged("C", 0, 1024, (), False))
    where = "a: between positions 0 and 1024 of group C the replicas"
    assert said(caplog).splitlines() == [
        f"{where} at b diverged from the majority, and fetch its state anew",
        f"{where} diverged, and no majority agrees: its writes are stopped",
    ]


def test_a_node_that_comes_into_a_view_with_a_suspended_group_says_for_whom_it_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All logs were damaged: the nodes were members of a view, and of the store there was not a word."""
    a, b = (Member(name, f"{name}:1", 1) for name in "ab")
    suspended = Suspended(Group(1, GroupSpec("KV"), ("a", "b")), 1, (a, b), 0, ())
    reports.Reports("a", str, str).installed(View(1, 2, (a, b), suspended=(suspended,)))
    assert said(caplog, logging.WARNING) == "a: group KV is suspended, and waits for the log of one of a b"


def test_a_node_whose_disk_has_not_taken_its_view_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine waits for nothing then: "it is in no view: it", said a full disk."""
    monkeypatch.setattr(reports, "WAIT_S", 0.0)

    async def wait() -> None:
        told = reports.Reports("a", str, str)
        told.wait()
        await until(caplog, "a is in no view: it waits for its disk, which has not taken what it decided")
        told.close()

    run(asyncio.wait_for(wait(), PATIENCE_S))
