"""`phalanx status`: what each node says about itself."""

import asyncio

import msgspec
import typer
from rich.table import Table

from phalanx.api.client import connect
from phalanx.cli.calls import ENDPOINT, AsJson, Endpoints, Timeout, Tls, print_whole, tls_of
from phalanx.cli.complaints import NOT_DONE, complain
from phalanx.errors import PhalanxError
from phalanx.group.config import Timing
from phalanx.model.clock import MILLISECOND
from phalanx.node.status import GroupStatus, Status
from phalanx.runtime.loop import run

OFFSET_MS = Timing().max_offset // MILLISECOND
"""A clock that is further from the median is told of, and time that is further ahead."""


def status(
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show what each node says about itself and the cluster.  Exit status 3 if none answers."""
    shown = tls_of(tls)

    async def one(endpoint: str) -> Status | None:
        async with connect(endpoint, timeout_s=timeout, tls=shown) as client:
            try:
                return await client.status()
            except PhalanxError as error:
                complain(NOT_DONE, f"{endpoint}: {error}", None, endpoint=endpoint)
                return None

    async def main() -> dict[str, Status | None]:
        answers = dict(zip(endpoints, await asyncio.gather(*map(one, endpoints)), strict=True))
        others = {m.address for s in answers.values() if s is not None for m in (*s.members, *s.learners)}
        unasked = sorted(others - set(answers))
        return answers | dict(zip(unasked, await asyncio.gather(*map(one, unasked)), strict=True))

    answers = run(main())
    if as_json:
        typer.echo(msgspec.json.encode(answers).decode())
    else:
        _show(answers)
    if not any(answers.values()):
        raise typer.Exit(3)


def _show(answers: dict[str, Status | None]) -> None:
    table = Table("address", "node", "state", "view", "members", "learners", "suspects", "survives", "disk")
    groups = Table("group", "order", "hosts", "learners", "version")
    seen: dict[str, tuple[str, str, str, str]] = {}
    waiting = Table("suspended group", "waits for the log of one of")
    suspended: dict[str, str] = {}
    for address, s in answers.items():
        if s is None:
            table.add_row(address, "-", "no answer", "", "", "", "", "", "")
            continue
        rank0 = " (the eldest decides)" if s.eldest_decides else ""
        table.add_row(
            address,
            f"{s.node}#{s.incarnation}",
            s.state,
            str(s.view),
            " ".join(m.name for m in s.members),
            " ".join(m.name for m in s.learners),
            " ".join(s.suspects),
            f"{s.survives}{rank0}",
            s.disk,
        )
        for group in s.groups:
            order = f"{group.order}, durable" if group.durable else group.order
            version = _version(group) or seen.get(group.name, ("", "", "", ""))[3]
            seen[group.name] = (order, " ".join(group.hosts), " ".join(group.learners), version)
        for one in s.suspended:
            suspended[one.name] = " ".join(one.waits_for)
    for name, row in sorted(seen.items()):
        groups.add_row(name, *row)
    for line in _clusters(answers):
        typer.echo(line)
    print_whole(table)
    if seen:
        print_whole(groups)
    for name, hosts in sorted(suspended.items()):
        waiting.add_row(name, hosts)
    if suspended:
        print_whole(waiting)
    for line in _remarks(list(filter(None, answers.values()))):
        typer.echo(line)


def _remarks(answers: list[Status]) -> list[str]:
    """What is not as it should be, in words."""
    groups = [group for s in answers for group in s.groups]
    lines = sorted({group.refuses_writes for group in groups} - {""})
    lines += sorted({group.upgrade for group in groups} - {""})
    if (ahead_ms := max((s.time_ahead_ms for s in answers), default=0)) > OFFSET_MS:
        ahead = f"{ahead_ms / 1000:,.1f} s ahead of the members' clocks"
        lines.append(f"the groups' time is {ahead}, and goes at half speed until they have caught up")
    for s in answers:
        if s.waits:
            lines.append(f"{s.node} {s.waits}")
        if abs(s.clock_ms) > OFFSET_MS:
            off = f"{abs(s.clock_ms) / 1000:,.1f} s {'ahead of' if s.clock_ms > 0 else 'behind'}"
            lines.append(f"{s.node}'s clock is {off} the median of the members' clocks")
        lines += [f"{w} took longer than a heartbeat at {s.node}, {n} times" for w, n in sorted(s.slow.items())]
    return lines


def _clusters(answers: dict[str, Status | None]) -> list[str]:
    """Which cluster this is; with its nodes, if they are of more than one."""
    found: dict[str, list[str]] = {}
    for s in filter(None, answers.values()):
        if s.cluster:
            found.setdefault(s.cluster, []).append(s.node)
    if len(found) <= 1:
        return [f"cluster {cluster}" for cluster in found]
    return [f"cluster {cluster}: {', '.join(nodes)}" for cluster, nodes in found.items()]


def _version(group: GroupStatus) -> str:
    """Of a replicated object's class; with those that its hosts can run, if some can run another."""
    able = " ".join(f"{host}:{number}" for host, number in group.versions.items())
    ahead = any(number != group.version for number in group.versions.values())
    return f"{group.version or ''}{f' ({able})' if ahead else ''}"
