"""Rolling restarts of real nodes: asks them, restarts them in turn, and stops when something is wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from phalanx.api.arguments import cluster_of, name_of, seconds_of, sequence_of
from phalanx.api.client import connect
from phalanx.api.tls import TLS
from phalanx.errors import ConfigurationError, PhalanxError, RestartStopped
from phalanx.model.clock import SECOND
from phalanx.model.view import Address, Name
from phalanx.node.rolling import (
    NO_REASONS,
    PATIENCE_NS,
    POLL_NS,
    Done,
    Reasons,
    Restart,
    Rolling,
    Statuses,
    Stop,
    Wait,
)
from phalanx.node.status import Status
from phalanx.runtime.clock import system_clock

ASK_S = 2.0
"""How long a node may take to say how it is."""


async def statuses_of(*endpoints: Address, tls: TLS | None = None) -> Statuses:
    """What the nodes of the cluster say, by name: those at the endpoints, and all members that these know of.  One
    that has the name of a node of another cluster is there as "name at address", so that neither hides the other."""
    return (await _ask(endpoints, tls))[0]


async def _ask(endpoints: Sequence[Address], tls: TLS | None) -> tuple[Statuses, Reasons]:
    """As `statuses_of`; and why nodes do not answer: members by name, and endpoints of which no member is known."""
    silent: dict[Address, str] = {}

    async def one(endpoint: Address) -> Status | None:
        async with connect(endpoint, timeout_s=ASK_S, tls=tls) as client:
            try:
                return await client.status()
            except PhalanxError as error:
                silent[endpoint] = str(error)
                return None

    found = [status for status in await asyncio.gather(*map(one, endpoints)) if status is not None]
    asked = {status.address for status in found}
    members = {m.address: m.name for s in found for m in (*s.members, *s.learners)}
    found += [s for s in await asyncio.gather(*map(one, sorted(members.keys() - asked))) if s is not None]
    answers: dict[Name, Status | None] = dict.fromkeys(sorted(members.values()))
    for status in found:
        known = answers.get(status.node)
        hides = known is not None and known.cluster != status.cluster
        answers[f"{status.node} at {status.address}" if hides else status.node] = status
    return answers, {members.get(address, address): why for address, why in sorted(silent.items())}


async def rolling_restart(
    restart: Callable[[Name], Awaitable[None]],
    *endpoints: Address,
    names: Sequence[Name] = (),
    patience_s: float = PATIENCE_NS / SECOND,
    pause_s: float = 0.0,
    statuses: Callable[[], Awaitable[Statuses]] | None = None,
    on_wait: Callable[[str], None] | None = None,
    tls: TLS | None = None,
    cluster: str = "",
) -> list[Name]:
    """Restart the members of a cluster one after the other, and return their names.

    Each is restarted once all members answer and agree, and the view and all groups would survive its failure; the next
    one when it is back as a full member in a new life, with the state of all groups that it had hosted.

    restart: ends that node's process and starts it again: politely or not.  It need not wait until the node is up.
    endpoints: addresses of some nodes; the others are learned.
    names: whom to restart, in that order; by default all, the youngest member first.
    patience_s: how long to wait for any one of these conditions.  pause_s: between two members.
    statuses: asks the nodes, in place of the endpoints.  on_wait: is told what is waited for.
    tls, cluster: as for `connect`, so that a cluster that was recovered is known by its former ids, too.

    Raises `RestartStopped` if a condition does not come about in time, or at once if a node is of another cluster than
    `cluster`, or than the first; and what `restart` raises.  Nothing is restarted after that: the members that were, and
    why it stopped, are in the error.
    """
    if not endpoints and statuses is None:
        raise ConfigurationError("say which cluster: endpoints, or how to ask its nodes")
    patience_s, pause_s = seconds_of(patience_s, "the patience"), seconds_of(pause_s, "the pause")
    if patience_s <= 0 or pause_s < 0:
        raise ConfigurationError(
            f"patience must be positive and the pause not negative, not {patience_s} and {pause_s}"
        )
    known, names = cluster_of(cluster), [name_of(name, "the name of a node") for name in sequence_of(names, "names")]
    rolling = Rolling(names, int(patience_s * SECOND), int(pause_s * SECOND), f"{known:x}" if known else "")
    while True:
        seen, reasons = (await statuses(), NO_REASONS) if statuses is not None else await _ask(endpoints, tls)
        match rolling.step(seen, system_clock(), reasons):
            case Restart(name):
                await restart(name)
            case Wait(why):
                if on_wait is not None:
                    on_wait(why)
                await asyncio.sleep(POLL_NS / SECOND)
            case Done():
                return rolling.restarted
            case Stop(why):
                raise RestartStopped(why, tuple(rolling.restarted))
