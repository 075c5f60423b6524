"""What the reader of a group is shown of its state and its place: founded, restored, excluded, lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import phalanx
from phalanx.api.events import Changed, Event, Excluded, Founded, Lost, Message, Restored
from phalanx.api.groups import Group
from phalanx.group.config import Limits, Timing
from phalanx.model import events
from phalanx.model.clock import MILLISECOND
from phalanx.model.events import Consumed, Delivered, SnapshotTaken, SnapshotWanted
from phalanx.model.view import GroupSpec, Member

ME = Member("a", "a:1", 1)
AGAIN = Member("a", "a:1", 2)
OTHER = Member("b", "b:1", 1)
QUICK = Timing(heartbeat=10 * MILLISECOND, suspect_after=100 * MILLISECOND, resend_after=20 * MILLISECOND)
PATIENCE_S = 20.0


class Asked(list[Any]):
    """What a machine is asked, at once or lazily."""

    submit = submit_lazily = list.append


class Reading:
    """A group whose machine is the test, and all that its reader is shown."""

    def __init__(self, stateful: bool = True) -> None:
        self.asked = Asked()
        self.restored: list[bytes] = []
        self.group = Group(
            GroupSpec("log"),
            self.asked,
            lambda _: 0,
            Limits(),
            (lambda: b"saved") if stateful else None,
            self.restored.append if stateful else None,
            lambda _: None,
            set(),
        )
        self.shown: list[Any] = []

    async def read(self, what: Callable[[Group], Any] = Group.events, until: int = 1_000) -> None:
        """Until nothing is left, or so much has been shown."""
        stream = what(self.group)
        while len(self.shown) < until:
            try:
                self.shown.append(await asyncio.wait_for(anext(stream), 0.01))
            except TimeoutError:
                return


def delivered(*payloads: bytes, group: int = 7) -> Delivered:
    return Delivered(group, 1, OTHER, 1, list(payloads))


def test_the_stream_says_what_becomes_of_the_state_and_of_the_process() -> None:
    async def story() -> None:
        reading = Reading()
        group = reading.group
        group._take(Founded(7), ME)
        group._take(delivered(b"one"), ME)
        group._out("it was suspected", ME, False)
        group._take(events.Restored(7, b"state"), AGAIN)
        group._take(delivered(b"two"), AGAIN)
        group._take(Lost(7), AGAIN)
        group._take(Founded(8), AGAIN)
        await reading.read()
        assert reading.shown == [
            Founded(7),
            Message(OTHER, b"one", 1, 1),
            Excluded("it was suspected"),
            Restored(b"state"),
            Message(OTHER, b"two", 1, 1),
            Lost(7),
            Founded(8),
        ]
        assert reading.restored == [b"state"]

    asyncio.run(story())


def test_a_send_that_waits_for_its_delivery_returns_when_a_state_has_its_payload() -> None:
    """A member that lagged may be given a state in place of what it lacks, its own payloads among that."""

    async def story() -> None:
        group = Reading().group
        group._seat(7)
        sends = [asyncio.create_task(group.send(payload, delivered=True)) for payload in (b"one", b"two", b"three")]
        await asyncio.sleep(0)
        group._take(events.Restored(7, b"state", own=2), ME)
        await asyncio.wait_for(asyncio.gather(*sends[:2]), 1)
        assert not sends[2].done()
        group._take(Delivered(7, 1, ME, 1, [b"three"]), ME)
        await asyncio.wait_for(sends[2], 1)

    asyncio.run(story())


def test_what_was_delivered_before_an_exclusion_is_no_credit_for_the_next_incarnation() -> None:
    """Else senders would be told that this process has read what it has not."""

    async def story() -> None:
        reading = Reading()
        group = reading.group
        group._take(delivered(b"old"), ME)
        group._take(SnapshotWanted(7, 1), ME)
        group._out("it was suspected", ME, False)
        group._take(delivered(b"newer"), AGAIN)
        group._take(SnapshotWanted(7, 1), AGAIN)
        await reading.read()
        assert reading.asked == [Consumed(7, 5), SnapshotTaken(7, 1, b"saved")]

    asyncio.run(story())


def test_an_iteration_of_messages_raises_where_a_kept_state_is_lost_and_goes_on_when_told_to() -> None:
    async def story() -> None:
        reading = Reading()
        group = reading.group
        for item in (Founded(7), delivered(b"one"), Lost(7), Founded(8), delivered(b"two", group=8)):
            group._take(item, ME)
        with pytest.raises(phalanx.StateLost, match="log began anew"):
            await reading.read(Group.__aiter__)
        assert [message.payload for message in reading.shown] == [b"one"]
        await reading.read(Group.__aiter__)
        assert [message.payload for message in reading.shown] == [b"one", b"two"]

    asyncio.run(story())


def test_a_group_without_state_loses_none() -> None:
    async def story() -> None:
        reading = Reading(stateful=False)
        for item in (Founded(7), delivered(b"one"), Founded(8), delivered(b"two", group=8)):
            reading.group._take(item, ME)
        await reading.read(Group.__aiter__)
        assert [message.payload for message in reading.shown] == [b"one", b"two"]

    asyncio.run(story())


# --- on a cluster ---------------------------------------------------------------------------------------------------


class Shown:
    """What a reader is shown, views aside."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Event()

    async def follow(self, group: Group) -> None:
        async for event in group.events():
            if not isinstance(event, Changed):
                self.events.append(event)
                self._more.set()

    async def end_with(self, *kinds: type[Any]) -> None:
        """Wait until the last events are of these kinds."""
        while tuple(type(event) for event in self.events[-len(kinds) :]) != kinds:
            self._more.clear()
            await self._more.wait()


def on_three(story: Callable[[phalanx.Cluster], Awaitable[None]]) -> None:
    async def main() -> None:
        async with phalanx.local(3, timing=QUICK) as cluster:
            await asyncio.wait_for(story(cluster), PATIENCE_S)

    asyncio.run(main())


async def exclude(cluster: phalanx.Cluster, name: str) -> None:
    """Cut the process off until the others have a view without it; then it may come back."""
    others = [process.name for process in cluster.processes if process.name != name]
    before = cluster[name].me
    for other in others:
        cluster.cut(name, other)
    for other in others:
        async for view in cluster[other].views():
            if view.named(name) is None:
                break
    for other in others:
        cluster.heal(name, other)
    async for _ in cluster[name].views():
        if cluster[name].me.incarnation > before.incarnation:
            break
    await cluster.joined()


def test_a_process_that_was_excluded_is_told_and_gets_the_state_of_the_others() -> None:
    async def story(cluster: phalanx.Cluster) -> None:
        shown = Shown()
        groups: dict[str, Group] = {}
        readers = []
        for process in cluster.processes:
            group = await process.group("log", snapshot=lambda: b"all of it", restore=lambda _: None)
            groups[process.name] = group
            readers.append(asyncio.create_task((shown if process.name == "c" else Shown()).follow(group)))
        await groups["a"].send(b"one", delivered=True)
        await shown.end_with(Message)
        await exclude(cluster, "c")
        await shown.end_with(Excluded, Restored)
        await groups["a"].send(b"two", delivered=True)
        await shown.end_with(Restored, Message)
        seen = shown.events
        what = [type(event) for event in seen if not isinstance(event, Restored) or event.data]
        assert what[-4:] == [Message, Excluded, Restored, Message]
        assert isinstance(seen[-1], Message) and seen[-1].payload == b"two"
        for reader in readers:
            reader.cancel()

    on_three(story)


def test_a_process_that_alone_held_a_group_is_told_that_it_began_anew() -> None:
    async def story(cluster: phalanx.Cluster) -> None:
        shown = Shown()
        group = await cluster["b"].group("log", snapshot=lambda: b"", restore=lambda _: None)
        first = group.id
        reader = asyncio.create_task(shown.follow(group))
        await group.send(b"one", delivered=True)
        await exclude(cluster, "b")
        await shown.end_with(Excluded, Founded)
        seen = shown.events
        assert [type(event) for event in seen] == [Founded, Message, Excluded, Founded]
        assert seen[0] == Founded(first or 0)
        assert seen[-1] == Founded(group.id or 0) != seen[0]
        await group.send(b"two", delivered=True)
        reader.cancel()

    on_three(story)


def test_a_group_that_is_founded_anew_in_the_view_in_which_it_was_lost_goes_on() -> None:
    """The loss is told after the view, in which this process has a place in the new group already."""

    async def story(cluster: phalanx.Cluster) -> None:
        async def come(name: str) -> Group:
            return await cluster[name].group("log", snapshot=lambda: b"", restore=lambda _: None, record=lambda: b"")

        held = await come("b")
        await held.send(b"one", delivered=True)  # nobody iterates at b, so it gives nobody the state
        coming = asyncio.create_task(come("c"))
        async for view in cluster["c"].views():
            if (place := view.group_named("log")) is not None and "c" in place.learners:
                break
        await cluster.kill("b")
        group = await coming
        shown = Shown()
        reader = asyncio.create_task(shown.follow(group))
        await group.send(b"two", delivered=True)
        await shown.end_with(Lost, Founded, Message)
        assert list((await group.global_state()).states) == ["c"]
        reader.cancel()

    on_three(story)


def test_what_a_disk_held_back_is_not_shown_after_the_end() -> None:
    async def story() -> None:
        async with phalanx.local(1) as cluster:
            (process,) = cluster.processes
            group = await process.group("log")
            place = group.id
            assert place is not None
            await cluster.kill(process.name)
            process._deliver([delivered(b"late", group=place)])
            assert [event async for event in group.events() if isinstance(event, Message)] == []

    asyncio.run(story())


# --- room for what is sent


def test_however_many_send_no_more_is_queued_than_there_is_room_for() -> None:
    """All that waited went on at once when half of the queue was free: a thousand senders filled it a thousand times."""
    queued = 0
    asked = Asked()

    async def settled() -> int:
        """Payloads that were handed to the machine so far, once nobody can go on."""
        for _ in range(200):
            await asyncio.sleep(0)
        return len(asked)

    async def work() -> None:
        nonlocal queued
        spec, limits = GroupSpec("log"), Limits(queue=1_000)
        group = Group(spec, asked, lambda _: queued, limits, None, None, lambda _: None, set())
        group._seat(7)
        senders = [asyncio.create_task(group.send(bytes([number]) * 400)) for number in range(20)]
        assert await settled() == 3, "the last one goes beyond the limit"
        queued = 1_200
        group._drained()
        assert await settled() == 3
        queued = 501
        group._drained()
        assert await settled() == 3, "not before half is free"
        for handed in (6, 9, 12):
            queued = 0
            group._drained()
            assert await settled() == handed
        assert [each.payloads[0][0] for each in asked] == list(range(12)), "in turn"
        group._out("it is asked to", ME, leaving=True)
        assert await settled() == 12
        results = await asyncio.gather(*senders, return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 12 + [phalanx.Unavailable] * 8

    asyncio.run(work())
