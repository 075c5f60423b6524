"""Room on a disk (SCENARIOS 8): what is refused is undone and tried again, a failed fsync is not, and a watch warns."""

import asyncio
import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from phalanx.model.machine import Logged, Room, Space
from phalanx.runtime import driver as driver_module
from phalanx.runtime import logdisk
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log
from phalanx.runtime.logdisk import MemoryLog, open_log
from phalanx.runtime.space import Left, NoRoom, SpaceWatch
from tests.runtime.logs import FIRST, SECOND, contents
from tests.runtime.power import PowerFiles
from tests.runtime.test_driver import Outbox, turns
from tests.runtime.test_driver_log import appender
from tests.runtime.toys import PATIENCE_S, TEXT, ManualDisk, ManualLog, Scripted, on_loop

REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SmallFiles(PowerFiles):
    """A directory of so many bytes: of a write that does not fit, a part is written, as real disks do."""

    def __init__(self, room: int, number: int = errno.ENOSPC) -> None:
        super().__init__()
        self.room = room
        self.number = number

    def write(self, name: str, at: int, data: bytes) -> None:
        fits = self.room - sum(map(len, self.files.values()))
        grows = max(0, at + len(data) - len(self.files[name]))
        super().write(name, at, data[: max(0, len(data) - max(0, grows - max(0, fits)))])
        if grows > fits:
            raise OSError(self.number, "No room")


# --- the log


@pytest.mark.parametrize("number", REFUSED)
def test_an_append_that_is_refused_leaves_the_log_as_it_was_and_is_taken_later(number: int) -> None:
    files = SmallFiles(600, number)
    log = Log(files)
    log.recover()
    log.append([b"first"])
    before = bytes(files.files["0000000000000001.log"])
    for _ in range(3):
        with pytest.raises(NoRoom, match="No room"):
            log.append([bytes(1000)])
        assert bytes(files.files["0000000000000001.log"]) == before
    log.append([b"small"])
    files.room = 10_000
    log.append([bytes(1000)])
    assert list(Log(PowerFiles({n: bytes(d) for n, d in files.files.items()})).recover().records) == [
        b"first",
        b"small",
        bytes(1000),
    ]


def test_a_new_segment_for_which_there_is_no_room_is_begun_later() -> None:
    files = SmallFiles(300)
    log = Log(files, segment_bytes=100)
    log.recover()
    log.append([bytes(200)])
    files.room = sum(map(len, files.files.values())) + 10
    with pytest.raises(NoRoom):
        log.append([b"second"])
    assert files.names() == ["0000000000000001.log"]
    files.room = 10_000
    log.append([b"second"])
    assert list(log.reread().records) == [bytes(200), b"second"]


def test_what_was_acknowledged_survives_power_cuts_on_a_disk_without_room() -> None:
    """SCENARIOS 5, 8: at every instant of appends that are refused, and taken later."""
    for seed in range(20):
        rng = random.Random(seed)
        files = SmallFiles(900)
        log = Log(files, segment_bytes=300)
        log.recover()
        acknowledged: list[tuple[int, list[bytes]]] = [(len(files.done), [])]
        for number in range(12):
            records = [b"%d" % number, bytes(rng.randrange(200))]
            try:
                log.append(records)
            except NoRoom:
                files.room += 300
                continue
            acknowledged.append((len(files.done), [*acknowledged[-1][1], *records]))
        for count in range(acknowledged[0][0], len(files.done) + 1):
            expected = max((known for known in acknowledged if known[0] <= count), key=lambda known: known[0])[1]
            found = Log(PowerFiles(files.after_power_cut(count, rng))).recover()
            assert list(found.records)[: len(expected)] == expected


def torn() -> SmallFiles:
    """A log whose last write was cut off in the middle, on a disk that is full."""
    files = SmallFiles(10_000)
    log = Log(files)
    log.recover()
    log.append([b"first"])
    log.append([b"second" + bytes(300)])
    del files.files[FIRST][-100:]
    files.room = sum(map(len, files.files.values()))
    return files


def test_a_torn_log_is_read_without_room_and_goes_on_when_there_is() -> None:
    """SCENARIOS 5, 8.  However many lives begin on the full disk, each finds the same, and changes nothing."""
    files = torn()
    before = contents(files)
    for _ in range(2):
        log = Log(files)
        for found in (log.recover(), log.reread()):
            assert (list(found.records), found.cuts, found.lost) == ([b"first"], (1,), False)
            assert found.torn
        with pytest.raises(NoRoom):
            log.append([b"third"])
        assert contents(files) == before
        assert not log.write([b"third"]), "what is torn is not written behind"
    files.room = 10_000
    log.append([b"third"])
    log.append([b"fourth"])
    assert files.names() == [FIRST, SECOND]
    found = Log(PowerFiles(contents(files))).recover()
    assert (list(found.records), found.cuts, found.torn) == ([b"first", b"third", b"fourth"], (1,), "")


def test_a_log_in_place_of_a_lost_one_says_so_without_room_too() -> None:
    files = SmallFiles(0)
    log = Log(files, lost=True)
    for found in (log.recover(), log.reread()):
        assert (list(found.records), found.lost) == ([], True)
    with pytest.raises(NoRoom):
        log.append([b"first"])
    files.room = 10_000
    log.append([b"first"])
    assert Log(PowerFiles(contents(files))).recover().lost


def test_a_new_node_begins_no_log_without_room() -> None:
    """With votes and without a log, its next life would be one whose log was lost."""
    with pytest.raises(NoRoom):
        Log(SmallFiles(0)).recover()


def test_an_fsync_that_finds_no_room_ends_the_log() -> None:
    """Rebello et al. 2020: nobody knows what is on the disk then."""

    class Late(PowerFiles):
        full = False

        def sync(self, name: str) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().sync(name)

    files = Late()
    log = Log(files)
    log.recover()
    files.full = True
    with pytest.raises(OSError, match="No space left") as failed:
        log.append([b"lost"])
    assert not isinstance(failed.value, NoRoom)
    files.full = False
    with pytest.raises(OSError, match="failed before"):
        log.append([b"again"])


def test_real_files_are_cut_back_to_what_they_held(tmp_path: Path) -> None:
    files = PosixFiles(tmp_path)
    files.create("file")
    files.write("file", 0, b"kept and more")
    files.truncate("file", 4)
    assert files.read("file") == b"kept"
    files.close()


def test_a_log_tells_what_its_disk_has_left_and_one_in_memory_has_no_disk(tmp_path: Path) -> None:
    async def work() -> None:
        disk, _ = open_log(tmp_path / "log", TEXT)
        left: asyncio.Future[Left | None] = asyncio.get_running_loop().create_future()
        disk.look(left.set_result)
        found = await left
        assert found is not None and 0 < found.free <= found.total
        disk.close()
        MemoryLog().look(lambda left: pytest.fail(f"{left} of no disk"))
        await asyncio.sleep(0)

    on_loop(work)


# --- the votes


def test_a_driver_stores_votes_again_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "RETRY_S", 0.0)

    async def work() -> None:
        machine, transport, disk = Scripted(appender), Outbox(), ManualDisk()
        driver = Driver(machine, TEXT, transport, disk, print, log_disk=ManualLog())
        driver.start()
        await turns(machine, 1)
        driver.submit(("vote", "v"))
        await turns(machine, 2)
        disk.finish(NoRoom(errno.ENOSPC, "votes"))
        await until(lambda: bool(disk.under_way))
        assert transport.sent == []
        disk.finish()
        assert [text for _, text in transport.sent] == ["voted v"]
        await until(lambda: rooms(machine) == [Space.FULL, Space.AMPLE])
        await driver.close()

    on_loop(work)


# --- the driver


def rooms(machine: Scripted) -> list[Space]:
    return [event.space for turn in machine.turns for event in turn if isinstance(event, Room)]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():
            await asyncio.sleep(0)


def test_what_the_log_refuses_waits_and_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCENARIOS 8: the driver goes on, nothing counts as durable, and no vote overtakes what waits."""
    monkeypatch.setattr(logdisk, "RETRY_S", 0.0)

    async def work() -> None:
        machine, transport, log, disk = Scripted(appender), Outbox(), ManualLog(), ManualDisk()
        driver = Driver(machine, TEXT, transport, disk, print, log_disk=log)
        driver.start()
        await turns(machine, 1)
        driver.submit(("log", "a"))
        driver.submit(("vote", "v"))
        await turns(machine, 2)
        for _ in range(3):
            await until(lambda: bool(log.under_way))
            log.finish(NoRoom(errno.ENOSPC, "log"))
        driver.submit(("log", "b"))
        await until(lambda: bool(log.under_way))
        assert log.under_way[0][0][0] == "a", "in the order of their appending"
        assert not disk.under_way
        log.finish()
        await until(lambda: log.records == ["a"] or bool(log.under_way))
        if log.under_way:
            log.finish()
        assert log.records == ["a", "b"]
        disk.finish()
        await until(lambda: any(Logged(2) in turn for turn in machine.turns))
        assert rooms(machine) == [Space.FULL, Space.AMPLE]
        assert "voted v" in [text for _, text in transport.sent]
        await driver.close()

    on_loop(work)


def test_a_driver_whose_log_has_no_room_can_be_closed() -> None:
    async def work() -> None:
        machine, log = Scripted(appender), ManualLog()
        driver = Driver(machine, TEXT, Outbox(), MemoryDisk(), print, log_disk=log)
        driver.start()
        await turns(machine, 1)
        driver.submit(("log", "a"))
        await turns(machine, 2)
        log.finish(NoRoom(errno.ENOSPC, "log"))
        await driver.close()
        assert log.is_closed and not log.under_way

    on_loop(work)


def test_a_driver_looks_at_its_disk_if_it_has_a_reserve() -> None:
    async def work() -> None:
        machine, log = Scripted(), ManualLog()
        driver = Driver(machine, TEXT, Outbox(), MemoryDisk(), print, log_disk=log, reserve=1_000)
        driver.start()
        await turns(machine, 1)
        [looked] = log.looks
        looked(Left(999, 1_000_000))
        await turns(machine, 2)
        assert machine.turns[1] == [Room(Space.LOW, 999)]
        await driver.close()
        looked(Left(0, 1_000_000))  # too late to matter

    on_loop(work)


# --- the watch


class Watched:
    """A watch whose disk is the test's."""

    def __init__(self, reserve: int = 100) -> None:
        self.told: list[Room] = []
        self.watch = SpaceWatch(lambda _: None, reserve, self.told.append)

    def sees(self, free: int, total: int = 1_000_000) -> list[Space]:
        self.watch._left = Left(free, total)
        self.watch._judge()
        return [room.space for room in self.told]


def test_room_is_low_below_the_reserve_and_ample_only_above_twice_that() -> None:
    seen = Watched()
    assert seen.sees(100) == []
    assert seen.sees(99) == [Space.LOW]
    assert seen.sees(100) == [Space.LOW]
    assert seen.sees(199)[-1] is Space.LOW
    assert seen.sees(200)[-1] is Space.AMPLE


def test_of_a_small_disk_the_reserve_is_a_share() -> None:
    seen = Watched()
    assert seen.sees(50, total=1_000) == []
    assert seen.sees(49, total=1_000) == [Space.LOW]


def test_a_refusal_counts_whatever_the_disk_says_is_left() -> None:
    """A quota is not seen from outside."""
    seen = Watched()
    seen.sees(10_000)
    seen.watch.refused("log", NoRoom(errno.EDQUOT, "log"))
    seen.watch.refused("votes", NoRoom(errno.EDQUOT, "votes"))
    seen.watch.taken("log")
    assert [room.space for room in seen.told] == [Space.FULL]
    seen.watch.taken("votes")
    assert [room.space for room in seen.told] == [Space.FULL, Space.AMPLE]


def test_what_is_left_of_too_little_is_told_when_it_changes_much() -> None:
    seen = Watched()
    seen.sees(80)
    seen.sees(70)
    assert [room.free for room in seen.told] == [80]
    seen.sees(40)
    assert [room.free for room in seen.told] == [80, 40]


def test_without_a_reserve_nothing_is_looked_at() -> None:
    watch = SpaceWatch(lambda _: pytest.fail("looked"), 0, lambda _: None)
    watch.start()
    watch.close()
