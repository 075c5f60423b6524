"""`phalanx recover`: for an operator who accepts loss, when too few nodes of a cluster can ever return."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from phalanx.api.recovery import recover
from phalanx.cli.calls import said
from phalanx.errors import PhalanxError
from phalanx.group.lineage import Kept, Rescue
from phalanx.model.view import Group
from phalanx.runtime.segments import DamagedLog
from phalanx.wire.errors import CodecError

DONE, NOT_DONE, DAMAGED, UNREADABLE = range(4)
"""Exit statuses: it was done; nothing was changed, for --force was not given; the log is damaged, and must be repaired
first; there is no such node, or its data are in use, or cannot be read."""


def recover_command(
    data: Annotated[Path, typer.Argument(help="The data directory of the node whose knowledge is kept.")],
    name: Annotated[str, typer.Option(help="The name of that node.")],
    force: Annotated[
        bool, typer.Option("--force", help="Do it: give up what this node does not know, for good.")
    ] = False,
) -> None:
    """Let one node go on alone as a new cluster, with what its log holds.

    Only for a node that is not running, and only when too few others can ever return: what they know and this node does
    not is given up.  Make sure that they are not running.  The last line says whether anything was changed; the exit
    status is 0 if it was, 1 without --force, 2 if the log is damaged, 3 if the data cannot be used.
    """
    try:
        plan = recover(data, name, really=force)
    except DamagedLog as error:
        typer.echo(f"damaged: {error}; `phalanx log repair` cuts it off before that")
        raise typer.Exit(DAMAGED) from error
    except (PhalanxError, CodecError, OSError) as error:
        typer.echo(f"phalanx: {said(error)}", err=True)
        raise typer.Exit(UNREADABLE) from error
    for line in _told(plan, name):
        typer.echo(line)
    if not force:
        typer.echo("nothing was changed; give --force to do it")
        raise typer.Exit(NOT_DONE)
    typer.echo(f"{name} is the only member of cluster {plan.votes.cluster:x}: start it as before, others as new nodes")


def _told(plan: Rescue, name: str) -> Iterator[str]:
    if plan.record is None:
        yield f"a recovery was begun before; it makes {name} the only member of cluster {plan.votes.cluster:x}"
        return
    view = plan.view
    yield f"cluster {view.cluster:x}, view {view.id}: the last one that {name} knows of"
    if plan.went_on:
        yield f"possibly lost: all that happened since; the view after it was decided without {name}"
    for member in plan.missing:
        yield f"possibly lost: what {member} has received or decided and {name} has not"
    for kept in plan.kept:
        yield from _told_of(kept, plan, name)
    for group in plan.lost:
        why = "this log does not hold its end" if group.spec.durable else "it was in memory"
        yield f"lost: group {group.spec.name} ({group.id}), hosted by {_names(group)}: {why}"


def _told_of(kept: Kept, plan: Rescue, name: str) -> Iterator[str]:
    group, view = kept.group, kept.view
    upto = ", ".join(f"{n} of {host}" for n, host in zip(kept.received, group.hosts, strict=True))
    yield f"kept: group {group.spec.name} ({group.id}) up to view {view}, and of that these batches: {upto}"
    suspended = plan.view.suspended_group(group.id)
    last = plan.view.id if plan.view.group(group.id) is not None else suspended.view if suspended is not None else view
    if last != view:
        yield f"possibly lost: what group {group.spec.name} delivered up to view {last}, of which this log has nothing"
    if others := [host for host in group.hosts if host != name]:
        yield f"possibly lost: what group {group.spec.name} delivered since; {' and '.join(others)} may know"
    if not kept.whole:
        yield f"possibly lost: what was cut off at the end of this log, of group {group.spec.name}"


def _names(group: Group) -> str:
    return ", ".join(group.hosts)
