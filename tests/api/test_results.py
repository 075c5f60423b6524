"""What the methods of a class do ends no node: too large results and exceptions, `sys.exit`, wrong results."""

import sys
from typing import Any

import pytest

import phalanx
from phalanx.api.client import Replicated
from phalanx.api.local import Cluster
from phalanx.replication.inflight import COMMAND_BYTES_MAX
from phalanx.replication.objects import RESULT_BYTES_MAX
from phalanx.replication.outcome import ARGS_BYTES_MAX
from phalanx.wire.frame import BODY_BYTES_MAX
from tests.api.test_arguments import among


class Untellable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Rude:
    runs: int = 0

    @phalanx.command
    def grow(self, size: int) -> bytes:
        self.runs += 1
        return b"x" * size

    @phalanx.query
    def show(self, size: int) -> bytes:
        return b"x" * size

    @phalanx.command
    def fail(self, size: int) -> int:
        self.runs += 1
        raise ValueError("x" * size)

    @phalanx.command
    def fail_silently(self) -> int:
        raise Untellable

    @phalanx.command
    def leave(self) -> int:
        self.runs += 1
        sys.exit(3)

    @phalanx.query
    def ask_to_leave(self) -> int:
        sys.exit(3)

    @phalanx.command
    def lie(self) -> int:
        self.runs += 1
        return "text"  # type: ignore[return-value]  # that is what is tested

    @phalanx.command
    def eat(self, data: bytes) -> int:
        return len(data)

    @phalanx.query
    def count(self) -> int:
        return self.runs


def with_rude(work: Any) -> None:
    """With a cluster of two that host it: whoever ends a node is noticed, since the other alone is no quorum."""

    async def run(cluster: Cluster) -> None:
        await work(cluster.client().object(Rude))
        assert [process.status.state for process in cluster.processes] == ["member", "member"]

    among(2, run, objects={"Rude": (Rude, 0)})


def test_a_result_of_the_largest_size_comes_back_and_a_frame_has_room_for_it() -> None:
    assert RESULT_BYTES_MAX < BODY_BYTES_MAX
    size = RESULT_BYTES_MAX - 5  # what msgpack says before so many bytes

    async def work(handle: Replicated[Rude]) -> None:
        assert len(await handle.call(Rude.show, size)) == size
        assert len(await handle.call(Rude.grow, size)) == size

    with_rude(work)


def test_a_larger_result_is_refused_and_ends_no_node() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        with pytest.raises(phalanx.TooLarge, match=f"Rude.show returned .* the limit is {RESULT_BYTES_MAX}"):
            await handle.call(Rude.show, RESULT_BYTES_MAX)
        with pytest.raises(phalanx.CommandFailed, match=r"Rude.grow returned .* \(its changes stand\)"):
            await handle.call(Rude.grow, RESULT_BYTES_MAX)
        assert await handle.call(Rude.count) == 1

    with_rude(work)


def test_arguments_that_no_frame_can_hold_are_refused_and_end_no_client() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        for size in (COMMAND_BYTES_MAX, BODY_BYTES_MAX):
            with pytest.raises(phalanx.TooLarge, match=f"the limit is {COMMAND_BYTES_MAX}"):
                await handle.call(Rude.eat, b"x" * size)
        assert await handle.call(Rude.count) == 0

    with_rude(work)


def test_a_watch_of_a_key_that_no_frame_can_hold_is_refused() -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.client().kv()
        with pytest.raises(phalanx.TooLarge):
            async with store.watch(b"x" * BODY_BYTES_MAX):
                pass
        assert await store.put(b"k", b"v") == 1

    among(1, work, objects={"KV": (phalanx.KV, 0)})


def test_an_exception_too_large_to_keep_travels_by_a_part_of_its_text() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        with pytest.raises(ValueError, match="xxx"):
            await handle.call(Rude.fail, ARGS_BYTES_MAX // 2)
        with pytest.raises(phalanx.CommandFailed, match="ValueError: xxx"):
            await handle.call(Rude.fail, BODY_BYTES_MAX)
        assert await handle.call(Rude.count) == 0

    with_rude(work)


def test_an_exception_without_a_text_is_one_all_the_same() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        with pytest.raises(phalanx.CommandFailed, match=r"Untellable: .*ValueError"):
            await handle.call(Rude.fail_silently)

    with_rude(work)


def test_sys_exit_in_a_method_is_an_exception_like_others() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        with pytest.raises(phalanx.CommandFailed, match="SystemExit: 3"):
            await handle.call(Rude.leave)
        with pytest.raises(phalanx.CommandFailed, match="SystemExit: 3"):
            await handle.call(Rude.ask_to_leave)
        assert await handle.call(Rude.count) == 0

    with_rude(work)


def test_a_result_of_another_type_than_the_annotation_says_so() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        with pytest.raises(phalanx.CommandFailed, match=r"Rude.lie returned .* \(its changes stand\): Expected `int`"):
            await handle.call(Rude.lie)
        assert await handle.call(Rude.count) == 1

    with_rude(work)


def test_arguments_that_do_not_fit_are_told_by_the_names_of_parameters() -> None:
    async def work(handle: Replicated[Rude]) -> None:
        with pytest.raises(phalanx.WrongArguments, match=r"^Rude.grow, parameter 'size': Expected `int`, got `str`$"):
            await handle.call(Rude.grow, "3")  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(TypeError, match=r"^Rude.grow: missing a required argument: 'size'$"):
            await handle.call(Rude.grow)  # type: ignore[call-arg]  # that is what is tested
        with pytest.raises(TypeError, match=r"^Rude.grow: an argument cannot be encoded: "):
            await handle.call(Rude.grow, 1 << 70)

    with_rude(work)


def test_what_is_wrong_inside_of_an_argument_is_told_by_its_place() -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.client().kv()
        with pytest.raises(phalanx.WrongArguments, match=r"^KV.put, parameter 'key': Expected `bytes`, got `str`$"):
            await store.put("k", b"v")  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(TypeError, match=r"^KV.transact, parameter 'when'\[0\]\[1\]: Expected `bytes`"):
            await store.transact([phalanx.txn.Exists("k")])  # type: ignore[arg-type]  # that is what is tested
        assert issubclass(phalanx.WrongArguments, phalanx.Refused), "it has not happened"

    among(1, work, objects={"KV": (phalanx.KV, 0)})
