"""`phalanx log`: look at a node's log, and repair one that is damaged.  Only for a node that is not running."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from phalanx.api.storage import RECORDS
from phalanx.cli.calls import said
from phalanx.cli.complaints import FAILED, complain
from phalanx.errors import DataDirectoryInUse, PhalanxError
from phalanx.group.beginning import lacks_beginning_for_all
from phalanx.group.messages import Ceiling, Chunk, Data, Record, Turned
from phalanx.replication.entries import UNREADABLE as UNDECODABLE
from phalanx.replication.entries import Upgrade, decode
from phalanx.replication.saving import version_in
from phalanx.replication.versions import founded_with
from phalanx.runtime.disk import VoteFile
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Recovery, look, repair
from phalanx.runtime.logdisk import Decoded
from phalanx.runtime.segments import BEGINNING_LOST, SUFFIX, DamagedLog, Records
from phalanx.wire.errors import CodecError

log_app = typer.Typer(no_args_is_help=True, help="Look at the log of a node that is not running, or repair it.")

WHOLE, POSSIBLY_LOST, DAMAGED, UNREADABLE = range(4)
"""Exit statuses: nothing is wrong; the end was cut off, as after a crash; durable records are bad; there is no log, or it
is in use, or of another version."""

_Data = Annotated[Path, typer.Argument(help="The node's data directory, or one set aside as log.damaged.N.")]


@log_app.command()
def verify(data: _Data) -> None:
    """Read the whole log.  Exit status 0: whole; 1: records are possibly lost, at an end that was cut off or never
    begun; 2: damaged; 3: not readable."""
    with _reading():
        found = _look(data)
        for record in found.records:
            RECORDS.decode(record)
        _check_beginning(found)
    typer.echo(f"{len(found.records)} records")
    if found.lost:
        typer.echo("possibly lost: this log took the place of one that was damaged")
    for cut in found.cuts:
        typer.echo(f"possibly lost: something was cut off after record {cut}")
    if found.torn:
        typer.echo(f"a torn tail, which the next start cuts off: {found.torn}")
    if found.unbegun:
        typer.echo(_unbegun(found))
    raise typer.Exit(_status(found))


@log_app.command()
def dump(
    data: _Data,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    first: Annotated[int, typer.Option("--from", help="The first record to show, counted from 0.", min=0)] = 0,
) -> None:
    """Print what each record is.  Exit statuses as for `verify`; what can be read before a damage is not shown."""
    with _reading(as_json):
        found = _look(data)
        _check_beginning(found)
        objects: dict[int, bool] = {}
        for number, encoded in enumerate(found.records):
            record = RECORDS.decode(encoded)
            if isinstance(record, Turned):
                objects |= {group.id: founded_with(group.spec) is not None for group in record.value.view.groups}
            if number < first:
                continue
            if number in found.cuts:
                typer.echo("{}" if as_json else "--- here something was cut off: records are possibly lost")
            fields = {"record": number, **_describe(record)}
            if isinstance(record, (Data, Chunk)) and objects.get(record.group):
                fields |= _of_versions(record)
            typer.echo(json.dumps(fields) if as_json else " ".join(f"{key}={value}" for key, value in fields.items()))
    if found.unbegun:
        complain("possibly lost", _unbegun(found), POSSIBLY_LOST)
    raise typer.Exit(_status(found))


@log_app.command("repair")
def repair_command(
    data: _Data,
    force: Annotated[
        bool, typer.Option("--force", help="Do it: what is behind the first damage is given up in this log.")
    ] = False,
) -> None:
    """Cut a damaged log off before the first damage.  Nothing is erased: later files are renamed to end in .aside.

    The log then counts as one whose end may be lost: it is no proof that there was nothing more.  Restart the other hosts
    first if there are any, they have it all; repair only what nobody else has.
    """
    lock = None
    try:
        directory = _files(data).directory
        if directory.parent / "log" == directory:
            lock = VoteFile(directory.parent / "votes")  # its lock keeps the node from starting meanwhile
        told = repair(directory, really=force, lacks_beginning=_lacks_beginning)
    except (PhalanxError, CodecError, OSError) as error:
        typer.echo(f"phalanx: {said(error)}", err=True)
        raise typer.Exit(UNREADABLE) from error
    finally:
        if lock is not None:
            lock.close()
    if not told:
        typer.echo("nothing is damaged")
        raise typer.Exit(WHOLE)
    for line in told:
        typer.echo(line)
    if not force:
        typer.echo("nothing was changed; give --force to do it")
    raise typer.Exit(WHOLE if force else DAMAGED)


def _status(found: Recovery) -> int:
    return POSSIBLY_LOST if found.cuts or found.lost or found.unbegun else WHOLE


def _unbegun(found: Recovery) -> str:
    """A crash leaves such a file before anything is in it; so does who cuts a full one off at its beginning."""
    what = "what came after these records" if found.records else "all of this log"
    return (
        f"possibly lost: {what}: {found.unbegun} has no beginning: the node had just begun it when it ended, or its "
        f"content is lost.  The next start removes it"
    )


def _files(data: Path) -> PosixFiles:
    """Those of the log there.  Raises FileNotFoundError if there is none: one that is gone is not a whole one."""
    directory = data / "log" if (data / "log").is_dir() else data
    files = PosixFiles(directory, make=False)
    if not any(name.endswith(SUFFIX) and name.removesuffix(SUFFIX).isdecimal() for name in files.names()):
        raise FileNotFoundError(f"there is no log in {directory}")
    return files


def _look(data: Path) -> Recovery:
    return look(_files(data))


def _check_beginning(found: Recovery) -> None:
    """Raises DamagedLog, as the start of the node does."""
    if not found.begins and _lacks_beginning(found.records):
        raise DamagedLog(BEGINNING_LOST)


def _lacks_beginning(records: Records) -> bool:
    return lacks_beginning_for_all(Decoded(records, RECORDS))


@contextmanager
def _reading(as_json: bool = False) -> Iterator[None]:
    """A log is read, which may end the command."""
    try:
        yield
    except DamagedLog as error:
        typer.echo(json.dumps({"damaged": str(error)}) if as_json else f"damaged: {error}")
        raise typer.Exit(DAMAGED) from error
    except BrokenPipeError:  # nothing is wrong with the log
        raise
    except (CodecError, DataDirectoryInUse, OSError) as error:
        complain(FAILED, f"phalanx: {said(error)}", UNREADABLE)
        raise typer.Exit(UNREADABLE) from error


def _of_versions(record: Data | Chunk) -> dict[str, int | str]:
    """What a record of an object's group says of the version of its class."""
    if isinstance(record, Chunk):
        opening = record.data[4 : 4 + int.from_bytes(record.data[:4], "big")] if record.offset == 0 else b""
        version = version_in(record.data[8 + len(opening) :]) if opening else None
        return {"version": version} if version is not None else {}
    for payload in record.payloads:
        with suppress(*UNDECODABLE):
            entry = decode(payload)
            if isinstance(entry, Upgrade):
                return {"upgrade": f"{entry.since}->{entry.to}"}
    return {}


def _describe(record: Record) -> dict[str, int | str]:
    match record:
        case Data():
            size = sum(map(len, record.payloads))
            return {
                "is": "batch",
                "group": record.group,
                "view": record.view,
                "host": record.author,
                "number": record.number,
                "stamp": record.stamp,
                "payloads": len(record.payloads),
                "bytes": size,
            }
        case Turned(value):
            members = ",".join(map(str, value.view.members))
            return {"is": "view", "view": value.view.id, "after": value.old, "members": members}
        case Ceiling(stamp):
            return {"is": "ceiling", "stamp": stamp}
        case Chunk():
            return {
                "is": "snapshot",
                "group": record.group,
                "view": record.view,
                "offset": record.offset,
                "of": record.total,
            }
