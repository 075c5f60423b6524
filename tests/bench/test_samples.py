"""What rounds of measurements say together, and how it is shown."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bench import own
from bench.comparison import SECTIONS, UVLOOP, Report, client_text, figures_of, quiet_text, table_of
from bench.multicast import BATCHES
from bench.samples import OURS, Row, Sample, Spread, What, Work, by_round, latencies_us, ratio, rows_of, spread_of
from phalanx.lab.figures.model import Bars, Lines
from phalanx.lab.figures.svg import svg
from phalanx.lab.loadgen.histogram import Histogram

STREAM = Work(What.MULTICAST, 100)
PUT = Work(What.PUT, outstanding=64)
ONE_PUT = Work(What.PUT, outstanding=1)


def sample(system: str, work: Work, value: float, number: int = 1, variant: str = "", **more: float) -> Sample:
    """With that as the figure by which the workload is judged."""
    return Sample(system, work, {work.figure: value, **more}, number, variant)


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert spread_of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert Spread(2.0, 1.0, 3.0, 3).share == 1.0
    assert spread_of([]) is None


def test_a_round_counts_once_however_often_it_measured() -> None:
    samples = [sample(OURS, PUT, value, number) for number, value in ((1, 10.0), (1, 30.0), (1, 20.0), (2, 5.0))]
    assert by_round(samples, "ops_per_s") == {1: 20.0, 2: 5.0}
    assert by_round(samples, "p50_us") == {}


def test_a_ratio_is_of_rounds_that_have_both() -> None:
    """Half as fast in round 2, both of them: the machine was, and the ratio does not see it."""
    assert ratio({1: 100.0, 2: 50.0, 3: 1.0}, {1: 50.0, 2: 25.0, 4: 7.0}) == Spread(2.0, 2.0, 2.0, 2)
    assert ratio({1: 1.0}, {2: 1.0}) is None


def test_latencies_are_those_of_the_histogram() -> None:
    histogram = Histogram()
    for nanoseconds in [1_000] * 990 + [50_000] * 9 + [900_000]:
        histogram.add(nanoseconds)
    found = latencies_us(histogram)
    assert found == {"p50_us": pytest.approx(1.0, rel=0.02), "p99_us": found["p50_us"], "p999_us": found["p999_us"]}
    assert found["p999_us"] == pytest.approx(50.0, rel=0.02)


@pytest.mark.parametrize(
    ("work", "figure", "text", "limits"),
    [
        (STREAM, "ops_per_s", "multicast, 100 B, 1 sender", [Work(What.STREAM, 100)]),
        (Work(What.MULTICAST, 65536, 3), "ops_per_s", "multicast, 64 KiB, 3 senders", [Work(What.STREAM, 65536)]),
        (Work(What.MULTICAST, 100, outstanding=1), "p50_us", "multicast, 100 B, 1 under way", [Work(What.PING, 100)]),
        (Work(What.MULTICAST, 100, outstanding=4), "ops_per_s", "multicast, 100 B, 4 under way", []),
        (PUT, "ops_per_s", "put, 64 under way", []),
        (Work(What.GET, outstanding=1), "p50_us", "linearizable get, 1 under way", [Work(What.PING, 100)]),
        (
            Work(What.DURABLE_PUT, outstanding=1),
            "p50_us",
            "durable put, 1 under way",
            [Work(What.PING, 100), Work(What.FSYNC)],
        ),
        (Work(What.GAP), "gap_ms", "write gap", []),
        (
            Work(What.MULTICAST, 100, members=5, groups=10),
            "ops_per_s",
            "multicast, 100 B, 1 sender, 5 members, 10 groups",
            [Work(What.STREAM, 100)],
        ),
    ],
)
def test_a_workload_says_by_what_it_is_judged(work: Work, figure: str, text: str, limits: list[Work]) -> None:
    assert (work.figure, work.text, list(work.limits)) == (figure, text, limits)
    assert work.is_more_better == (figure == "ops_per_s")


def systems_of(rows: list[Row], work: Work) -> list[tuple[str, str]]:
    return [(row.system, row.variant) for row in rows if row.work == work]


def test_of_each_peer_the_best_variant_is_shown() -> None:
    """The best by median: one lucky round does not make a variant the best."""
    samples = [sample(OURS, PUT, 10.0), sample(OURS, ONE_PUT, 10.0)]
    for work, better in ((PUT, 2.0), (ONE_PUT, 0.5)):
        for number in (1, 2, 3):
            samples.append(sample("peer", work, 10.0 * better, number, "the better one"))
            samples.append(sample("peer", work, 1000.0 * better**9 if number == 2 else 10.0, number, "the lucky one"))
    rows = rows_of(samples)
    for work in (PUT, ONE_PUT):
        assert systems_of(rows, work) == [(OURS, ""), ("peer", "the better one")]


def test_ratios_are_to_peers_to_limits_and_to_a_smaller_load() -> None:
    three = msgspec.structs.replace(STREAM, senders=3)
    samples = [
        sample(OURS, STREAM, 100.0),
        sample(OURS, three, 80.0),
        sample("machine", Work(What.STREAM, 100), 200.0),
        sample("peer", STREAM, 25.0),
        sample("other peer", three, 40.0, 2),
    ]
    found = {(row.work, row.system): (row.ratio and row.ratio.median, row.base, row.limit) for row in rows_of(samples)}
    assert found == {
        (STREAM, OURS): (None, "", ""),
        (STREAM, "machine"): (0.5, "", "stream"),
        (STREAM, "peer"): (4.0, "", ""),
        (three, OURS): (0.8, "1 sender", ""),
        (three, "machine"): (0.4, "", "stream"),
        (three, "other peer"): (None, "", ""),  # not measured in the same round
    }


def test_what_we_do_not_measure_is_not_shown() -> None:
    assert rows_of([sample("peer", PUT, 1.0), Sample(OURS, STREAM, {"p50_us": 1.0}, 1)]) == []


# --- the page -----------------------------------------------------------------------------------------------------

SAMPLES = [
    *(sample(OURS, STREAM, 1e6 * n, n, member_cpu=0.5) for n in (1, 2)),
    *(sample("C", Work(What.STREAM, 100), 4e6, n, variant="by hand") for n in (1, 2)),
    *(sample(OURS, PUT, 3e4, n, client_cpu=0.95, p50_us=2000.0, p99_us=4000.0) for n in (1, 2)),
    *(sample(OURS, Work(What.PUT, outstanding=256), 4e4, n, client_cpu=0.5, p50_us=7000.0) for n in (1, 2)),
    *(sample("peer", PUT, 1e4, n, client_cpu=0.25, p50_us=5000.0) for n in (1, 2)),
    *(sample(OURS, Work(What.GAP), 10.0 * n, n) for n in (1, 2)),
    sample("peer", Work(What.GAP), 1000.0),
    sample(OURS, Work(What.MULTICAST, 100, members=5), 5e5),
    sample(OURS, Work(What.MULTICAST, 100, groups=10), 9e5),
    *(sample(UVLOOP, Work(What.PING, 100), 20.0 + n, n) for n in (0, 1, 2)),
]


def page(samples: list[Sample], notes: list[str] | None = None) -> str:
    return Report({"rounds": "2"}, samples, notes or []).as_markdown(rows_of(samples))


def test_a_table_has_a_row_for_each_system_and_the_columns_that_somebody_has() -> None:
    rows = [row for row in rows_of(SAMPLES) if row.work == PUT]
    assert table_of(rows) == [
        "| workload | system | per second | p50 us | p99 us | spread | client | Phalanx / it |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
        "| put, 64 under way | **Phalanx** | 30,000 | 2,000 | 4,000 | 0% | 0.95 **bottleneck** |  |",
        "|  | peer | 10,000 | 5,000 |  | 0% | 0.25 | 3.00 (3.00 to 3.00) |",
    ]


def test_a_limit_is_named_as_one_and_noise_is_shown() -> None:
    rows = [row for row in rows_of(SAMPLES) if row.work == STREAM]
    assert table_of(rows)[2:] == [
        "| multicast, 100 B, 1 sender | **Phalanx** | 1,500,000 | 67% | member 0.50 |  |",
        "|  | limit: C, stream (by hand) | 4,000,000 | 0% | - | 0.38 (0.25 to 0.50) |",
    ]


def test_the_worst_gap_is_shown_beside_the_median() -> None:
    rows = [row for row in rows_of(SAMPLES) if row.work.what is What.GAP]
    assert table_of(rows) == [
        "| workload | system | median ms | worst ms | spread | client | Phalanx / it |",
        "|---|---|--:|--:|--:|--:|--:|",
        "| write gap | **Phalanx** | 15 | 20 | 67% | - |  |",
        "|  | peer | 1,000 | 1,000 | - | - | 0.01 |",
    ]


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({"client_cpu": 0.89}, "0.89"),
        ({"client_cpu": 0.9}, "0.90 **bottleneck**"),
        ({"member_cpu": 0.99}, "member 0.99"),
        ({}, "-"),
    ],
)
def test_each_figure_says_whether_the_client_was_the_bottleneck(figures: Mapping[str, float], text: str) -> None:
    assert client_text({name: Spread(value, value, value, 1) for name, value in figures.items()}) == text


def test_the_page_has_a_section_for_whatever_was_measured() -> None:
    text = page(SAMPLES, ["redis is skipped: no such program"])
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Multicast: throughput",
        "Store, in memory: puts",
        "Writes after `kill -9`",
        "More members",
        "More groups",
    ]
    assert "- **redis is skipped: no such program**" in text
    more = text.partition("## More members")[2]
    assert "| multicast, 100 B, 1 sender, 5 members | **Phalanx** | 500,000 | - | - | 0.50 of 3 members |" in more
    assert "| multicast, 100 B, 1 sender, 10 groups | **Phalanx** | 900,000 | - | - | 0.90 of 1 group |" in more
    assert "limit: C" not in more, "what has grown is compared with itself"


def test_every_workload_that_we_measure_has_a_section() -> None:
    works = [
        *(Work(What.MULTICAST, size, senders) for size in BATCHES for senders in own.SENDERS),
        *(Work(What.MULTICAST, 100, outstanding=n) for n in own.MULTICASTS_UNDER_WAY),
        *(Work(what, outstanding=n) for what in (What.PUT, What.DURABLE_PUT, What.GET) for n in own.STORE_LOADS),
        *(Work(What.MULTICAST, 100, members=n) for n in (2, 5, 9)),
        *(Work(What.MULTICAST, 100, groups=n) for n in own.GROUPS),
        Work(What.GAP),
        Work(What.GAP_OF_VICTIM),
    ]
    rows = rows_of([sample(OURS, work, 1.0) for work in works])
    assert all(any(section.has(row, rows) for section in SECTIONS) for row in rows)


def test_a_machine_that_is_not_quiet_is_told() -> None:
    assert "not quiet" not in quiet_text(SAMPLES)
    assert "21.0 us, from 20.0 to 22.0 in 3 games" in quiet_text(SAMPLES)
    assert "not quiet" in quiet_text([*SAMPLES, sample(UVLOOP, Work(What.PING, 100), 40.0)])
    for cores, is_quiet in ((0.05, True), (0.5, False)):
        text = quiet_text([*SAMPLES, sample(UVLOOP, Work(What.PING, 100), 20.0, others_cores=cores)])
        assert f"others used {cores:.2f} cores" in text
        assert ("not quiet" not in text) == is_quiet
    assert quiet_text([]) == "noise: not measured"


def test_figures_are_drawn_of_what_was_measured() -> None:
    found = figures_of(rows_of(SAMPLES), SAMPLES)
    assert set(found) == {"throughput-1", "put-load", "put-peers", "store", "gaps", "members", "groups"}
    for figure in found.values():
        ElementTree.fromstring(svg(figure))
    throughput, members, gaps = found["throughput-1"], found["members"], found["gaps"]
    assert isinstance(throughput, Lines) and isinstance(members, Bars) and isinstance(gaps, Bars)
    assert [(series.name, series.points) for series in throughput.series] == [
        (OURS, ((100.0, 1.5e6),)),
        ("limit: C", ((100.0, 4e6),)),
        ("Phalanx, each round", ((100.0, 1e6), (100.0, 2e6))),
    ]
    assert members.groups == (("multicast 100 B", (1.0, 0.5)),)
    assert (members.names, gaps.names) == (("3 members", "5 members"), (OURS, "peer"))
    assert figures_of([], []) == {}


def test_all_that_was_measured_is_in_the_json(tmp_path: Path) -> None:
    files = Report({"rounds": "2"}, SAMPLES, ["a note"]).write(tmp_path / "new" / "directory")
    assert {path.name for path in files} >= {"peers.md", "peers.json", "store.svg"}
    found = json.loads((tmp_path / "new" / "directory" / "peers.json").read_text("utf-8"))
    assert msgspec.convert(found["samples"], list[Sample]) == SAMPLES
    assert msgspec.convert(found["rows"], list[Row]) == rows_of(SAMPLES)
    assert (found["about"], found["notes"]) == ({"rounds": "2"}, ["a note"])
    text = (tmp_path / "new" / "directory" / "peers.md").read_text("utf-8")
    assert "![store](store.svg)" in text
