"""Campaigns over the workers of a real Dask scheduler: the same results as alone, whatever becomes of the workers."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import dask
import msgspec
import pytest
from distributed import Client
from typer.testing import CliRunner

import phalanx
from phalanx.api.tls import TLS
from phalanx.cli import sim as sim_module
from phalanx.cli.main import command_line
from phalanx.errors import ConfigurationError
from phalanx.lab.report import Report
from phalanx.lab.spread import driver
from phalanx.lab.spread.driver import Spread
from phalanx.sim.campaign import campaign, guided
from phalanx.sim.guided import Search
from phalanx.sim.run import Result
from phalanx.sim.workers import Workers, WorkersLost, local
from tests.certificates import Authority
from tests.real import spread_toys
from tests.real.spread_toys import FOLDER, SEED, AlwaysDies, DiesOnce, Interrupts, Raises, Waits
from tests.sim.toys import GossipScenario, HastyStoreScenario
from tests.source import ROOT

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")]

HOST = "127.0.0.1"
PACKAGES = str(Path(phalanx.__file__).parent.parent)
"""Where the package is that is tested: others would refuse to work with it."""

START_S = 60.0
END_S = 10.0
"""These stop what hangs, and judge no speed."""


class Dask:
    """A scheduler and workers, as a user starts them, on the loopback interface."""

    def __init__(self, stack: ExitStack, folder: Path, tls: TLS | None = None, path: str = "", **settings: str) -> None:
        self._stack = stack
        self.folder = folder
        self._tls: list[str] = []
        if tls is not None:
            pairs = (("--tls-ca-file", tls.authorities), ("--tls-cert", tls.certificate), ("--tls-key", tls.key))
            self._tls = [str(each) for pair in pairs for each in pair]
        protocol = [] if tls is None else ["--protocol", "tls"]
        self.scheduler, said = self._start("scheduler", "--port", "0", *protocol, path=path, **settings)
        self.address = said(r"Scheduler at: +(\S+)")

    def workers(self, *options: str, path: str = "") -> subprocess.Popen[str]:
        """Started, not waited for."""
        nanny = () if "--nworkers" in options else ("--no-nanny",)
        threads = () if "--nthreads" in options else ("--nthreads", "1")
        local_files = ("--local-directory", str(self.folder / "dask"), "--death-timeout", "60")
        return self._start("worker", self.address, *nanny, *threads, *local_files, *options, path=path)[0]

    def client(self) -> Client:
        """To look what there is."""
        return Client(self.address, set_as_default=False)

    def wait_for_workers(self, count: int) -> None:
        """Until there are so many."""
        with self.client() as client:
            client.wait_for_workers(count)

    def _start(
        self, what: str, *options: str, path: str = "", **settings: str
    ) -> tuple[subprocess.Popen[str], Callable[[str], str]]:
        """The process, and what finds something in what it says."""
        places = ("--host", HOST, "--no-dashboard", "--dashboard-address", f"{HOST}:0")
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, *self._tls, *places],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(filter(None, (path, PACKAGES, str(ROOT)))), FOLDER: str(self.folder)}
            | {f"DASK_DISTRIBUTED__SCHEDULER__{name.upper()}": value for name, value in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines: SimpleQueue[str] = SimpleQueue()
        listener = Thread(target=_listen, args=(process, lines), daemon=True)
        listener.start()
        self._stack.callback(_end, process, listener, lines)

        def said(pattern: str) -> str:
            while not (found := re.search(pattern, lines.get(timeout=START_S))):
                pass
            return found[1]

        return process, said


def _listen(process: subprocess.Popen[str], lines: SimpleQueue[str]) -> None:
    assert process.stderr is not None
    with process.stderr as said:
        for line in said:
            lines.put(line)


def _end(process: subprocess.Popen[str], listener: Thread, lines: SimpleQueue[str]) -> None:
    """What it logged goes where pytest shows it of a test that fails."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    listener.join()
    while not lines.empty():
        print(lines.get(), end="")


@contextmanager
def trusting(tls: TLS) -> Iterator[None]:
    """As a user's configuration of Dask has it."""
    pairs = {"ca-file": tls.authorities, "client.cert": tls.certificate, "client.key": tls.key}
    with dask.config.set({f"distributed.comm.tls.{name}": str(file) for name, file in pairs.items()}):
        yield


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """Two workers that are started anew when they die, and only TLS."""
    folder = tmp_path_factory.mktemp("spread")
    authority = Authority(folder)
    with ExitStack() as stack:
        stack.enter_context(trusting(authority.client()))
        dask = Dask(stack, folder, authority.node())
        dask.workers("--nworkers", "2")
        dask.wait_for_workers(2)
        yield dask


@pytest.fixture
def alone() -> Iterator[ExitStack]:
    """For a scheduler of the test's own."""
    with ExitStack() as stack:
        yield stack


def all_of(results: Iterable[Result]) -> list[Result]:
    return sorted(results, key=lambda result: result.seed)


def told_nothing(text: str) -> None:
    raise AssertionError(text)


def poll(condition: Callable[[], bool]) -> None:
    """Until it holds; a test that waits in vain is stopped by its time limit."""
    while not condition():
        Event().wait(spread_toys.LOOK_S)


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_are_those_of_one_machine(cluster: Dask) -> None:
    expected = all_of(campaign(HastyStoreScenario, 100, 60, workers=local(1)))
    assert all_of(campaign(HastyStoreScenario, 100, 60, workers=Spread(cluster.address, told_nothing))) == expected
    assert any(not result.ok for result in expected)


def test_a_guided_campaign_is_the_same_in_the_same_order(cluster: Dask) -> None:
    def run(workers: Workers) -> list[Result]:
        return list(guided(GossipScenario, Search(GossipScenario.swarm, 0), 100, workers=workers))

    assert run(Spread(cluster.address, told_nothing)) == run(local(1))


@pytest.mark.parametrize("guided", [(), ("--guided",)], ids=["seeds", "guided"])
def test_the_command_says_and_reports_the_same(
    guided: Sequence[str], cluster: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sim_module.SCENARIOS, "hasty", HastyStoreScenario)
    monkeypatch.chdir(tmp_path)

    def run(name: str, *options: str) -> tuple[Counter[str], Report]:
        options = ("--scenario", "hasty", "--seeds", "70", *guided, "--report", f"{name}.json", *options)
        done = CliRunner().invoke(command_line(["sim"]), ["sim", *options])
        assert done.exit_code == 1, done.output
        return Counter(done.stdout.splitlines()), msgspec.json.decode(Path(f"{name}.json").read_bytes(), type=Report)

    here, there = run("here", "--jobs", "1"), run("there", "--over", cluster.address)
    assert there[0] == here[0]
    if not guided:  # when which seed was the first to reach something depends on the machines
        here, there = ((said, msgspec.structs.replace(report, growth=())) for said, report in (here, there))
    assert there[1] == here[1]


# --- workers that come and go -----------------------------------------------------------------------------------------


def test_what_a_worker_was_doing_when_it_died_is_done_by_another(cluster: Dask) -> None:
    expected = all_of(campaign(DiesOnce, 0, 60, workers=local(1)))
    results = all_of(campaign(DiesOnce, 0, 60, workers=Spread(cluster.address, lambda _: None)))
    assert results == expected
    assert (cluster.folder / "died").exists()


def test_workers_of_another_version_or_of_none_get_nothing_to_do(cluster: Dask, tmp_path: Path) -> None:
    """And are told, before anything is run."""
    other, none = tmp_path / "other", tmp_path / "none"
    shutil.copytree(Path(phalanx.__file__).parent, other / "phalanx", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "phalanx" / "sim" / "storm.py").open("a") as file:
        file.write("# a change\n")
    lacking(none)
    strangers = [cluster.workers(path=str(path)) for path in (other, none)]
    cluster.wait_for_workers(4)
    told: list[str] = []
    spread = Spread(cluster.address, told.append)
    results = campaign(HastyStoreScenario, 0, 20, workers=spread)
    first = next(results)
    assert len(told) == 2
    assert all_of([first, *results]) == all_of(campaign(HastyStoreScenario, 0, 20, workers=local(1)))
    assert spread.count == 2
    text = "\n".join(told)
    assert re.search(
        r"the worker tls://\S+ is refused: its phalanx is another \(version 0.1.0, sources \w+\) than", text
    )
    assert "it cannot import what is to be run (ModuleNotFoundError('No module named phalanx'))" in text
    assert "there, too, pip install 'phalanx[campaigns]'" in text
    for stranger in strangers:
        assert stranger.poll() is None, "it does not end of being asked: it may have other work"
        stranger.kill()
    poll(lambda: len(workers_of(cluster)) == 2)


def lacking(folder: Path) -> None:
    """Whoever has this in its path cannot import the package."""
    (folder / "phalanx").mkdir(parents=True)
    (folder / "phalanx" / "__init__.py").write_text("raise ModuleNotFoundError('No module named phalanx')")


def workers_of(dask: Dask) -> dict[str, int]:
    with dask.client() as client:
        present: dict[str, int] = client.nthreads()
        return present


def test_a_scheduler_that_lacks_the_package_is_named(alone: ExitStack, tmp_path: Path) -> None:
    lacking(tmp_path)
    dask = Dask(alone, tmp_path, path=str(tmp_path))
    with pytest.raises(
        ConfigurationError, match=r"the scheduler .* cannot import .* pip install 'phalanx\[campaigns\]'"
    ):
        list(campaign(HastyStoreScenario, 0, 20, workers=Spread(dask.address, told_nothing)))


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_run_that_kills_every_worker_ends_the_campaign_and_is_named(alone: ExitStack, tmp_path: Path) -> None:
    dask = Dask(alone, tmp_path, allowed_failures="0")
    dask.workers()
    with pytest.raises(WorkersLost, match=r"the seeds --from \d+ --seeds 8: every worker that had them died"):
        list(campaign(AlwaysDies, 0, 40, workers=Spread(dask.address, lambda _: None)))


def test_a_scenario_that_cannot_be_run_is_told_with_its_traceback(cluster: Dask) -> None:
    with pytest.raises(
        WorkersLost, match=r"--from 0 --seeds 8 cannot be run:\n(?s:.*)OSError: there is no such thing here"
    ):
        list(campaign(Raises, 0, 8, workers=Spread(cluster.address, told_nothing)))


def test_a_campaign_waits_for_its_first_worker_and_ends_with_its_scheduler(alone: ExitStack, tmp_path: Path) -> None:
    dask = Dask(alone, tmp_path)
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        alone.callback(dask.workers().kill)  # without its scheduler it takes its time to end by itself

    results = campaign(HastyStoreScenario, 0, None, workers=Spread(dask.address, tell))
    assert {next(results).seed for _ in range(40)} >= set(range(20))
    assert told == [f"{dask.address} has no workers yet: waiting 60 s for some"]
    dask.scheduler.kill()
    with pytest.raises(WorkersLost, match=re.escape(f"the scheduler {dask.address} is gone")):
        list(results)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that are started in the background ignore what a keyboard would send, and so do those that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_stops_the_campaign(cluster: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for results; what comes out of it, the command tells."""
    monkeypatch.setitem(sim_module.SCENARIOS, "interrupts", Interrupts)
    (cluster.folder / "driver").write_text(str(os.getpid()))
    options = ("--scenario", "interrupts", "--seeds", "1000000", "--over", cluster.address)
    done = CliRunner().invoke(command_line(["sim"]), ["sim", *options])
    assert done.exit_code == 3, done.output
    [line] = done.stderr.splitlines()
    found = re.fullmatch(
        r"interrupted\. (\d+) runs are done, as told above, all seeds below (\d+) among them\. "
        r"Go on with --from (\d+) --seeds (\d+)",
        line,
    )
    assert found, line
    assert done.stdout.splitlines()[-1].startswith(f"seeds={found[1]} ")
    assert int(found[2]) == int(found[3]) == 1_000_000 - int(found[4]) <= SEED


@pytest.mark.usefixtures("interruptible")
def test_workers_stop_when_a_campaign_is_over(cluster: Dask) -> None:
    """After the run that they are at: the first chunk's first run waits here until its worker knows."""
    results = campaign(Waits, 0, 8, workers=Spread(cluster.address, told_nothing))

    def interrupt() -> None:
        poll((cluster.folder / "begun-0").exists)
        os.kill(os.getpid(), signal.SIGINT)

    stop = Thread(target=interrupt)
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    stop.join()
    with cluster.client() as client:
        poll(lambda: set().union(*client.run(states).values()) <= {"cancelled"})
        (cluster.folder / "go").touch()
        poll(lambda: not set().union(*client.run(states).values()))
    assert [each.name for each in cluster.folder.glob("begun-*")] == ["begun-0"]


def states(dask_worker: object) -> set[str]:
    """Of the tasks that a worker knows."""
    return {task.state for task in dask_worker.state.tasks.values()}  # type: ignore[attr-defined]  # Dask gives its own worker


def test_nobody_there_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CONNECT_S", 0.3)
    for address in ("tcp://127.0.0.1:1", "nonsense://127.0.0.1"):
        with pytest.raises(ConfigurationError, match=f"no Dask scheduler answers at {address}"):
            list(campaign(HastyStoreScenario, 0, 8, workers=Spread(address, told_nothing)))
