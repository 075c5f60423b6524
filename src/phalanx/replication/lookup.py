"""What a caller asks for, looked up in what a replica has: operations of its class, and sessions."""

from typing import Any

from phalanx.model.replicated import Kind
from phalanx.replication.actions import Refusal, SessionOpened, Touched
from phalanx.replication.entries import Close, Open, Touch
from phalanx.replication.messages import Reason
from phalanx.replication.objects import ObjectType, Operation
from phalanx.replication.sessions import Sessions, Verdict

_REASONS = {Verdict.UNKNOWN: Reason.EXPIRED, Verdict.SETTLED: Reason.SETTLED, Verdict.WINDOW: Reason.WINDOW}


def find(of: ObjectType[Any], operation_id: str, types: int, kind: Kind) -> Operation | Refusal:
    """The operation of that kind, by which the caller means the same."""
    operation = of.operations.get(operation_id)
    if operation is None or operation.kind is not kind:
        text = f"{of.name} (version {of.version}) has no {kind} {operation_id}"
        return Refusal(Reason.OPERATION, text, of.version)
    if operation.types != types:
        text = f"{operation.where}: the caller knows other types under {operation_id}"
        return Refusal(Reason.OPERATION, text, of.version)
    return operation


def decode(operation: Operation, encoded: bytes) -> tuple[Any, ...] | Refusal:
    """Its arguments.  To make them may run code of their classes (`__post_init__`), which may raise anything."""
    try:
        return operation.decode(encoded)
    except MemoryError:
        raise  # it is this process that failed, not the arguments
    except (Exception, SystemExit) as error:
        return Refusal(Reason.ARGUMENTS, operation.fault(error))


def find_call(
    of: ObjectType[Any], operation_id: str, types: int, kind: Kind, encoded: bytes
) -> tuple[Operation, tuple[Any, ...]] | Refusal:
    """The operation of that kind, and its arguments."""
    found = find(of, operation_id, types, kind)
    if type(found) is Refusal:  # rather than isinstance: their metaclass makes that slow
        return found
    arguments = decode(found, encoded)
    return arguments if type(arguments) is Refusal else (found, arguments)


def refused(verdict: Verdict, number: int) -> Refusal:
    """Why a session's command of that number is not run."""
    return Refusal(_REASONS[verdict], f"command {number}: {verdict.value}")


def manage(sessions: Sessions, entry: Open | Touch | Close, token: int) -> SessionOpened | Touched | Refusal:
    """Do with a session what the entry says; a new one gets that id."""
    match entry:
        case Open():
            if sessions.open(token):
                return SessionOpened(token)
            return Refusal(Reason.SESSIONS, f"the group has {len(sessions)} sessions, which is its limit")
        case Touch(_, session, low):
            known = sessions.touch(session, low)
        case Close(_, session):
            known = sessions.close(session)
    return Touched() if known else Refusal(Reason.EXPIRED, "the group does not know the session")
