"""`cluster`: a cluster for one test, for `async with` or for `with`."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from phalanx import sync
from phalanx.api.arguments import flag_of, mapping_of, name_of, number_of
from phalanx.api.client import TIMEOUT_S
from phalanx.api.hosted import Hosted, described
from phalanx.api.tls import TLS, tls_of
from phalanx.errors import ConfigurationError
from phalanx.model.view import Address, Name
from phalanx.services.store.kv import KV
from phalanx.sync.background import Background, Block, Bridged, calls
from phalanx.testing.located import Located
from phalanx.testing.nodes import NODES_MAX, LocalNodes, Nodes, Wish
from phalanx.testing.realnodes import RealNodes


class SyncNodes(Bridged[Nodes]):
    """`Nodes` for tests without asyncio: the same methods, which wait."""

    start = calls(Nodes.start)
    kill = calls(Nodes.kill)
    restart = calls(Nodes.restart)
    pause = calls(Nodes.pause)
    resume = calls(Nodes.resume)
    cut = calls(Nodes.cut)
    partition = calls(Nodes.partition)
    fail = calls(Nodes.fail)
    heal = calls(Nodes.heal)
    wait_until_full = calls(Nodes.wait_until_full)
    statuses = calls(Nodes.statuses)

    @property
    def names(self) -> Sequence[Name]:
        """Of all nodes, whether they run or not."""
        return self.wrapped.names

    @property
    def running(self) -> Sequence[Name]:
        """Those that run, paused ones included."""
        return self.wrapped.running

    @property
    def addresses(self) -> Mapping[Name, Address]:
        """Where the nodes listen, for programs of one's own; only real processes do."""
        return self.wrapped.addresses

    def connect(self, timeout_s: float = TIMEOUT_S, names: Sequence[Name] | None = None) -> Block[Any, sync.Client]:
        """A client that knows these nodes (None: all), while its block runs.  It tries them in that order."""
        return Block(
            self.background,
            lambda: self.wrapped.connect(timeout_s, names),
            lambda client: sync.Client(self.background, client),
        )


class Arranged:
    """A cluster that is wanted, and begins with its block:

        async with cluster() as nodes: ...      # `Nodes`, on the loop that runs
        with cluster() as nodes: ...            # `SyncNodes`, on a background thread

    All nodes are full members when the block begins, and gone at its end.  Then it can begin again, as a new
    cluster; before that raises `RuntimeError`.
    """

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._async = AsyncExitStack()
        self._sync = ExitStack()
        self._runs = False

    if not TYPE_CHECKING:  # a type checker is to find that there is no such attribute

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and hasattr(Nodes, name):
                raise AttributeError(
                    f"a cluster has no {name!r} before it begins: `async with` (or `with`) it `as nodes`, "
                    f"and use nodes.{name}"
                )
            raise AttributeError(name)

    def __repr__(self) -> str:
        kind = "real processes" if self._wish.real else "nodes in this process"
        return f"<a cluster of {len(self._wish.names)} {kind}, hosting {', '.join(self._wish.objects)}>"

    async def __aenter__(self) -> Nodes:
        self._begin()
        async with AsyncExitStack() as stack:
            stack.callback(self._ended)
            nodes: Nodes = RealNodes(self._wish) if self._wish.real else LocalNodes(self._wish)
            await nodes.run(stack)
            await nodes.wait_until_full()
            self._async = stack.pop_all()
        return nodes

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._async.aclose()

    def __enter__(self) -> SyncNodes:
        self._begin()
        with ExitStack() as stack:
            stack.callback(self._ended)
            background = Background()
            stack.callback(background.close)
            nodes = stack.enter_context(Block(background, lambda: Arranged(self._wish), lambda nodes: nodes))
            self._sync = stack.pop_all()
        return SyncNodes(background, nodes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sync.close()

    def _begin(self) -> None:
        if self._runs:
            raise RuntimeError("this cluster runs already: make another one, or begin it again after its block")
        self._runs = True

    def _ended(self) -> None:
        self._runs = False


def cluster(
    nodes: int = 3,
    *,
    objects: Mapping[str, type[Any] | Hosted] | None = None,
    durable: bool = False,
    real: bool = False,
    tls: TLS | None = None,
) -> Arranged:
    """A cluster for a test: of `nodes` nodes, which host a store (`client.kv()`) and the objects that are named.

    objects: classes by name, or all that `phalanx.Hosted` says.  durable: the store, and objects given as classes,
    outlive the loss of all nodes.  real: each node is a process of its own, with sockets and files; else all are in the
    test's process, which takes milliseconds.  tls: what real nodes, all on 127.0.0.1, and their clients show; programs of
    one's own need it too.

    Raises `ConfigurationError` if there are not 1 to 26 nodes, or a class cannot be replicated, or not be imported by a
    real process; and `TypeError`.
    """
    if not 1 <= number_of(nodes, "the number of nodes") <= NODES_MAX:
        raise ConfigurationError(f"a cluster under test has 1 to {NODES_MAX} nodes, not {nodes}")
    if tls_of(tls) is not None and not real:
        raise ConfigurationError("nodes inside the test's process have no connections; ask for real=True")
    flag_of(real, "real")
    flag_of(durable, "durable")
    wanted: dict[str, Hosted] = {}
    for name, what in {"KV": KV, **mapping_of(objects or {}, "objects")}.items():
        name_of(name, "the name of an object")
        wanted[name] = what if isinstance(what, Hosted) else Hosted(what, durable=durable)
        described(name, *wanted[name])
        if real:
            Located.of(wanted[name].cls)
    return Arranged(Wish(tuple(chr(ord("a") + number) for number in range(nodes)), wanted, real, tls=tls))
