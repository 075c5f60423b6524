"""What is measured of processes of a cluster, and that the table in the documents has all of it."""

import asyncio
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import phalanx
from phalanx.metrics import Metrics
from phalanx.metrics.families import FAMILIES, Family
from phalanx.metrics.histogram import BOUNDS_S, Histogram
from phalanx.metrics.requests import TIMED
from phalanx.model.clock import SECOND
from tests.certificates import Authority
from tests.metrics.members import Samples, limited, members, samples, until
from tests.source import ROOT


class Sums:
    """A class of which one method takes long."""

    total: int = 0

    @phalanx.command
    def add(self, amount: int) -> int:
        if amount < 0:
            raise ValueError("negative")
        self.total += amount
        return self.total

    @phalanx.command
    def brood(self) -> int:
        """Longer than a heartbeat, whatever the machine does."""
        end = time.monotonic_ns() + phalanx.Timing().heartbeat
        while time.monotonic_ns() <= end:
            pass
        return self.total

    @phalanx.query
    def read(self) -> int:
        return self.total


def names_of(page: Samples) -> set[str]:
    """The families that a page has, as the table calls them."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name, *_ in page}


def section() -> str:
    """Of the documents, that about metrics."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return text.partition("\n## Metrics\n")[2].partition("\n## ")[0]


async def a_life(data: Path) -> tuple[Samples, Samples, Samples]:
    """Of three processes with a durable object and a group of payloads: what is measured at the end at one that
    saw all of it, at one that was killed and came back, and at one that lost the others."""
    objects = {"Sums": phalanx.Hosted(Sums, durable=True)}
    async with members(data=data, objects=objects) as found:
        groups = {name: await process.group("chat") for name, process in found.running.items()}
        readers = [asyncio.ensure_future(_read(group)) for group in groups.values()]
        for group in groups.values():
            await group.send(b"hello", delivered=True)
        sums = found.running["a"].client().object(Sums, "Sums")
        assert await sums.call(Sums.add, 3) == 3
        with pytest.raises(ValueError, match="negative"):
            await sums.call(Sums.add, -1)
        assert await sums.call(Sums.read) == 3
        await sums.call(Sums.brood)
        host, _, port = found.addresses["a"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01\x02\x00\x01" + bytes(64))  # as TLS begins
        await reader.read()
        writer.close()
        await found.kill("c")
        await until(found.metrics["a"], lambda s: s["phalanx_members",] == 2)
        assert await sums.call(Sums.add, 1) == 4
        await found.start("c")
        for metrics in found.metrics.values():
            await until(metrics, lambda s: s["phalanx_members",] == 3 and s["phalanx_ready",] == 1)
        await until(found.metrics["a"], lambda s: ("phalanx_peer_sent_bytes_total", "c") in s)
        first, back = samples(found.metrics["a"].collect()), samples(found.metrics["c"].collect())
        await found.kill("b")
        await found.kill("a")
        alone = await until(found.metrics["c"], lambda s: s["phalanx_state", "fenced"] == 1)
        for task in readers:
            task.cancel()
        return first, back, alone


async def _read(group: phalanx.Group) -> None:
    async for _ in group.events():
        pass


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Samples, Samples, Samples]]:
    yield limited(a_life(tmp_path_factory.mktemp("metrics")))


def test_all_that_is_measured_is_in_the_table_and_nothing_else() -> None:
    rows = [line for line in section().splitlines() if line.startswith("| `phalanx_")]
    table = [name for row in rows for name in re.findall(r"`(phalanx_\w+)`", row.split("|")[1])]
    assert Counter(table) == Counter(family.shown for family in FAMILIES)
    for row in rows:
        for name in re.findall(r"`(phalanx_\w+)`( \*h\*)?", row.split("|")[1]):
            [family] = [family for family in FAMILIES if family.shown == name[0]]
            assert list(family.labels) == re.findall(r"`(\w+)`", row.split("|")[2]), f"labels of {name[0]}"
            assert (family.kind == "histogram") == bool(name[1]), name[0]


def test_alerts_are_on_what_is_measured() -> None:
    known = {family.shown for family in FAMILIES}
    known |= {f"{family.name}_bucket" for family in FAMILIES if family.kind == "histogram"}
    rules = section().partition("```yaml")[2].partition("```")[0]
    used = re.findall(r"\bphalanx_\w+", rules)
    assert len(used) > 10
    assert set(used) <= known
    for name, labels in re.findall(r"(phalanx_\w+)\{([^}]*)\}", rules):
        [family] = [f for f in FAMILIES if name.startswith(f.shown)]
        assert {re.split(r"[=!]", one)[0] for one in labels.split(",")} <= set(family.labels)


def test_everything_in_the_table_is_measured_in_a_life(pages: tuple[Samples, Samples, Samples]) -> None:
    of_tls = {"phalanx_tls_certificate_expiry_timestamp_seconds"}  # see below
    seen = set().union(*map(names_of, pages)) | of_tls
    if sys.platform != "linux":
        seen |= {family.shown for family in FAMILIES if family.name.startswith("phalanx_peer_")}
    assert seen == {family.shown for family in FAMILIES}


def test_what_happened_to_others_is_told_by_who_saw_it(pages: tuple[Samples, Samples, Samples]) -> None:
    first, _, _ = pages
    assert first["phalanx_view_changes_total", "gone"] >= 1
    assert first["phalanx_view_changes_total", "come"] >= 1
    assert first["phalanx_view_changes_total", "promoted"] >= 1
    assert first["phalanx_suspicions_total", "c"] >= 1
    assert first["phalanx_suspected", "c"] == 0
    assert first["phalanx_view_change_seconds_count",] >= 2
    assert first["phalanx_peer_connected", "b"] == first["phalanx_peer_connected", "c"] == 1
    assert first["phalanx_survivable_failures",] == 1
    assert first["phalanx_refused_connections_total", "handshake.tls"] == 1


def test_requests_are_counted_by_what_came_of_them(pages: tuple[Samples, Samples, Samples]) -> None:
    first, _, _ = pages
    assert (commands := first["phalanx_requests_received_total", "command"]) >= 4
    assert first["phalanx_requests_received_total", "query"] >= 1
    assert first["phalanx_requests_received_total", "session"] >= 1
    assert first["phalanx_requests_answered_total", "ok"] >= 5
    assert first["phalanx_requests_answered_total", "raised"] >= 1
    assert first["phalanx_request_seconds_count", "command"] == (commands - 1) // TIMED + 1
    assert first["phalanx_request_seconds_bucket", "command", "+Inf"] == (commands - 1) // TIMED + 1
    assert first["phalanx_request_seconds_sum", "command"] > 0
    assert first["phalanx_requests_waiting",] == 0
    assert first["phalanx_slow_operations_total", "Sums.brood"] >= 1
    assert first["phalanx_clients",] == 1


def test_what_groups_carry_is_counted_over_views(pages: tuple[Samples, Samples, Samples]) -> None:
    first, back, _ = pages
    assert first["phalanx_group_delivered_messages_total", "chat"] == 3
    assert first["phalanx_group_delivered_bytes_total", "chat"] == 15
    assert first["phalanx_group_sent_batches_total", "chat"] == 1
    assert first["phalanx_group_delivered_batches_total", "chat"] == 3, "of the view before as well"
    assert first["phalanx_group_delivered_batches_total", "Sums"] >= 5
    assert first["phalanx_object_position", "Sums"] == back["phalanx_object_position", "Sums"] >= 5
    assert first["phalanx_object_sessions", "Sums"] == back["phalanx_object_sessions", "Sums"] == 1
    assert first["phalanx_group_synced", "Sums"] == back["phalanx_group_synced", "Sums"] == 1
    assert ("phalanx_group_synced", "chat") not in back, "it has not asked for a place there again"
    assert back["phalanx_group_hosts", "chat"] == 2


def test_states_that_are_fetched_and_files_are_measured(pages: tuple[Samples, Samples, Samples]) -> None:
    first, back, _ = pages
    assert back["phalanx_group_transfers_total", "Sums", "fetched"] >= 1
    assert back["phalanx_group_fetched_bytes_total", "Sums"] > 0
    assert first["phalanx_log_records_total",] >= 5
    assert 0 < first["phalanx_sync_seconds_count", "log"] <= first["phalanx_log_records_total",]
    assert first["phalanx_sync_seconds_count", "votes"] >= 3
    assert first["phalanx_log_segments",] == 1
    assert first["phalanx_log_bytes",] > 100
    assert first["phalanx_disk_space", "ample"] == 1


def test_clocks_are_measured(pages: tuple[Samples, Samples, Samples]) -> None:
    for page in pages:
        assert abs(page["phalanx_clock_offset_seconds",]) < 0.5, "there is one clock for all"
        assert page["phalanx_time_ahead_seconds",] == 0


def test_who_lost_its_quorum_is_not_ready_and_suspects_the_others(pages: tuple[Samples, Samples, Samples]) -> None:
    first, _, alone = pages
    assert (alone["phalanx_ready",], first["phalanx_ready",]) == (0, 1)
    assert alone["phalanx_state", "member"] == 0
    connected = [value for name, value in alone.items() if name[0] == "phalanx_peer_connected"]
    assert 0 in connected, "of both, or of the one that was killed last, if there was a view without the other"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked for it")
@pytest.mark.parametrize("secured", [False, True])
def test_bytes_of_a_link_are_those_of_its_other_end_and_the_certificate_ends_when_it_does(
    secured: bool, tmp_path: Path
) -> None:
    tls = Authority(tmp_path).node() if secured else None

    async def story() -> tuple[Samples, Samples]:
        async with members("ab", tls=tls) as found:
            await until(found.metrics["a"], lambda s: s.get(("phalanx_peer_sent_bytes_total", "b"), 0) > 1000)
            return samples(found.metrics["a"].collect()), samples(found.metrics["b"].collect())

    a, b = limited(story())
    end = a.get(("phalanx_tls_certificate_expiry_timestamp_seconds",), time.time())
    assert (80 * 86_400 < end - time.time() < 100 * 86_400) == secured
    assert a["phalanx_peer_sent_bytes_total", "b"] > 1000
    assert b["phalanx_peer_received_bytes_total", "a"] > 1000
    assert 0 < a["phalanx_peer_round_trip_seconds", "b"] < 10


def test_the_words_for_what_it_waits_for_are_those_of_the_status() -> None:
    async def story() -> None:
        metrics = Metrics()
        assert metrics.waits == "has not begun"
        assert samples(metrics.collect()) == {}
        async with members("ab") as found:
            assert found.metrics["a"].waits == ""
            await found.kill("b")
            await until(found.metrics["a"], lambda s: s["phalanx_members",] == 1)
            assert found.metrics["a"].waits == ""
            assert found.metrics["b"].waits == "has stopped"
            assert samples(found.metrics["b"].collect()) == {("phalanx_ready",): 0}
            await found.start("b")
            await until(found.metrics["b"], lambda s: s["phalanx_members",] == 2 and s["phalanx_ready",] == 1)
            await found.kill("a")
            await until(found.metrics["b"], lambda s: s["phalanx_state", "fenced"] == 1)
            assert found.metrics["b"].waits == found.running["b"].status.waits != ""

    limited(story())


def test_a_group_that_is_asked_for_and_is_not_there_yet_is_waited_for() -> None:
    async def story() -> None:
        async with members("a") as found:
            asking = asyncio.ensure_future(found.running["a"].group("later"))
            await asyncio.sleep(0)
            assert found.metrics["a"].waits == "waits for the state of later"
            await asking
            assert found.metrics["a"].waits == ""

    limited(story())


def test_a_group_that_waits_for_its_last_host_is_told_of_by_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with members(data=tmp_path) as found:
            await found.running["c"].group("own", durable=True, snapshot=bytes, restore=lambda _: None)
            a = found.metrics["a"]
            seen = await until(a, lambda s: ("phalanx_group_hosts", "own") in s)
            assert seen["phalanx_group_suspended", "own"] == 0
            assert ("phalanx_group_synced", "own") not in seen, "it is none of a's"
            await found.kill("c")
            seen = await until(a, lambda s: s.get(("phalanx_group_suspended", "own")) == 1)
            assert seen["phalanx_ready",] == 1, "it is none of a's"
            await found.start("c")
            await until(a, lambda s: s["phalanx_group_suspended", "own"] == 0)

    limited(story())


def test_metrics_are_of_one_process_at_a_time() -> None:
    async def story() -> None:
        metrics = Metrics()
        async with phalanx.join("a", bootstrap=True, metrics=metrics):
            with pytest.raises(phalanx.ConfigurationError, match="another process's"):
                async with phalanx.join("b", bootstrap=True, metrics=metrics):
                    pass
            assert samples(metrics.collect())["phalanx_ready",] == 1
        async with phalanx.join("c", bootstrap=True, metrics=metrics) as process:
            assert ("phalanx_node_info", "c", process.address, process.status.cluster, phalanx.__version__) in samples(
                metrics.collect()
            )

    limited(story())


def test_other_threads_may_collect_and_registries_refuse_the_same_names_twice() -> None:
    async def story() -> None:
        metrics, registry = Metrics(), CollectorRegistry(auto_describe=True)
        registry.register(metrics)
        with pytest.raises(ValueError, match="phalanx_ready"):
            registry.register(Metrics())
        async with phalanx.join("a", bootstrap=True, metrics=metrics):
            assert await asyncio.to_thread(registry.get_sample_value, "phalanx_ready") == 1
            assert await asyncio.to_thread(registry.get_sample_value, "phalanx_members") == 1
            assert registry.get_sample_value("phalanx_ready") == 1

    limited(story())


def test_a_thread_is_told_when_the_loop_does_not_come_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.metrics.collector.READ_S_MAX", 0.01)

    async def story() -> None:
        metrics = Metrics()
        async with phalanx.join("a", bootstrap=True, metrics=metrics):
            told: list[BaseException] = []

            def collect() -> None:
                try:
                    metrics.collect()
                except TimeoutError as error:
                    told.append(error)

            thread = threading.Thread(target=collect)
            thread.start()
            thread.join()  # on the loop, which so cannot answer
            assert len(told) == 1

    limited(story())


def test_a_histogram_counts_as_one_that_keeps_everything() -> None:
    kept, histogram = (
        [0, 1, 99_999, 100_000, 100_001, 3_000_000, 10 * SECOND, 10 * SECOND + 1, 77 * SECOND],
        Histogram(),
    )
    for duration in kept:
        histogram.observe(duration)
    upto = [sum(1 for d in kept if d <= bound * SECOND) for bound in BOUNDS_S]
    counts = [sum(histogram.counts[: i + 1]) for i in range(len(BOUNDS_S))]
    assert counts == upto
    assert sum(histogram.counts) == len(kept)
    assert histogram.sum_ns == sum(kept)


def test_names_say_their_kinds_and_units() -> None:
    assert Family("x", "counter", "").shown == "x_total"
    assert Family("x", "info", "").shown == "x_info"
    assert Family("x", "gauge", "").shown == "x"
    for family in FAMILIES:
        assert family.name.startswith("phalanx_")
        assert not family.name.endswith(("_total", "_info", "_bucket", "_count", "_sum", "_created")), family.name
        assert family.kind != "histogram" or family.name.endswith("_seconds"), family.name
