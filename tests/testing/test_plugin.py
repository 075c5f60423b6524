"""The pytest plugin: the fixture and its marker, for tests with and without asyncio; others do not notice it."""

import tomllib

import pytest

from tests.source import ROOT

pytest_plugins = ["pytester"]

ASYNC_TESTS = """
    import asyncio
    import inspect

    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):  # what plugins for asynchronous tests do
        if inspect.iscoroutinefunction(pyfuncitem.obj):
            names = pyfuncitem._fixtureinfo.argnames
            asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
            return True
"""


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """In a process of its own, with the plugin whether the package is installed with its entry point or not."""
    return pytester.runpytest_subprocess("-p", "phalanx_pytest", "-p", "no:cacheprovider", "--strict-markers", *options)


def test_a_test_without_asyncio_has_a_cluster(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import phalanx

        def test_failover(phalanx_cluster):
            with phalanx_cluster as cluster, cluster.connect() as client:
                client.kv().put(b"a", b"1")
                cluster.kill("a")
                assert client.kv().get(b"a").value == b"1"
        """
    )
    run(pytester, "-W", "error").assert_outcomes(passed=1)


def test_an_asynchronous_test_has_one_on_its_own_loop(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(ASYNC_TESTS)
    pytester.makepyfile(
        """
        import asyncio

        async def test_partition(phalanx_cluster):
            async with phalanx_cluster as cluster, cluster.connect() as client:
                await cluster.partition("a")
                await cluster.wait_until_full("bc")
                async with asyncio.timeout(30):
                    await client.kv().put(b"a", b"1")
                await cluster.heal()
                await cluster.wait_until_full()
        """
    )
    run(pytester, "-W", "error").assert_outcomes(passed=1)


def test_the_closest_marker_says_what_cluster(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import phalanx, pytest

        pytestmark = pytest.mark.phalanx(nodes=2)

        class Counter:
            value: int = 0

            @phalanx.command
            def add(self) -> int:
                self.value += 1
                return self.value

        def test_of_the_module(phalanx_cluster):
            assert "2 nodes in this process, hosting KV" in repr(phalanx_cluster)

        @pytest.mark.phalanx(nodes=5, durable=True, objects={"Counter": Counter})
        def test_of_its_own(phalanx_cluster):
            with phalanx_cluster as cluster, cluster.connect() as client:
                assert len(cluster.names) == 5
                assert client.object(Counter).call(Counter.add) == 1
                for name in cluster.names:
                    cluster.kill(name)
                for name in cluster.names:
                    cluster.start(name)
                cluster.wait_until_full()
                assert client.object(Counter).call(Counter.add) == 2

        @pytest.mark.phalanx(nodes=0)
        def test_of_nobody(phalanx_cluster): ...

        @pytest.mark.phalanx(nodes="3", objects=5)
        def test_of_a_text(phalanx_cluster): ...

        @pytest.mark.phalanx(objects=5)
        def test_of_no_objects(phalanx_cluster): ...

        @pytest.mark.phalanx(size=3)
        def test_of_an_unknown_option(phalanx_cluster): ...
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, errors=4)
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.phalanx: a cluster under test has 1 to 26 nodes, not 0",
            "@pytest.mark.phalanx: the number of nodes must be an int, not str",
            "@pytest.mark.phalanx: objects are a mapping from names, not 5",
            "@pytest.mark.phalanx: cluster() got an unexpected keyword argument 'size'",
        ]
    )


@pytest.mark.real
def test_real_processes_host_a_class_of_the_test_file(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import phalanx, pytest

        class Counter:
            value: int = 0

            @phalanx.command
            def add(self) -> int:
                self.value += 1
                return self.value

        @pytest.mark.phalanx(real=True, objects={"Counter": Counter})
        def test_pause(phalanx_cluster):
            with phalanx_cluster as cluster, cluster.connect(60) as client:
                counter = client.object(Counter)
                assert counter.call(Counter.add) == 1
                cluster.pause("a")
                cluster.wait_until_full("bc")
                assert counter.call(Counter.add) == 2
                cluster.resume("a")
                cluster.wait_until_full()
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_a_finding_of_simulate_is_shown_as_its_story(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import random
        import phalanx
        from phalanx.testing import simulate

        class Dice:
            eyes: int = 0

            @phalanx.command
            def throw(self) -> int:
                self.eyes = random.randint(1, 6)
                return self.eyes

        def test_dice():
            simulate(Dice, seeds=2)
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*impure: Dice.throw draws chance*", "*throw() was answered differently*", "*replay: *"]
    )


def test_who_does_not_use_it_does_not_notice_it(pytester: pytest.Pytester) -> None:
    """Nothing of the package is imported, and no event loop is there."""
    pytester.makepyfile(
        """
        import sys, threading

        def test_nothing():
            assert not [name for name in sys.modules if name.split(".")[0] in ("phalanx", "msgspec", "uvloop")]
            assert "asyncio" not in sys.modules or sys.version_info >= (3, 14)  # pytest's debugger imports it there
            assert threading.active_count() == 1
        """
    )
    run(pytester, "-W", "error", "-p", "no:anyio", "-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_marker_and_fixture_are_documented(pytester: pytest.Pytester) -> None:
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.phalanx(nodes=3, objects=None, durable=False, *"])
    run(pytester, "--fixtures").stdout.fnmatch_lines(["phalanx_cluster *", "*cluster for this test*"])


def test_installing_the_package_installs_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"phalanx_pytest": "phalanx_pytest"}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "src/phalanx_pytest.py" in wheel["only-include"] and wheel["sources"] == ["src"]
    assert (ROOT / "src" / "phalanx_pytest.py").is_file()
