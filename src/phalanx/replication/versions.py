"""Who can run which version of an object's class, in words: the number and the contract say it (`objects.ObjectType`).

The contract in a group's spec is that of the version that it was founded with, for ever; which one it runs is part of
what is replicated (`replica`).  So a node may host the group if its code knows the version that the group runs, whatever
that began with; only what cannot be is refused by the spec already.
"""

from typing import Any

from phalanx.model.view import GroupSpec
from phalanx.replication.actions import CannotGoOn
from phalanx.replication.objects import CONTRACTS, ObjectType


class CannotRun(CannotGoOn):
    """This node's code does not have the version that the group runs; the text says what to do."""


def founded_with(spec: GroupSpec) -> int | None:
    """The version of the class with which a group of that spec begins; None: it is no group of an object."""
    head, _, rest = spec.contract.partition(":")
    number = rest.partition(":")[0]
    return int(number) if head == CONTRACTS and number.isdecimal() else None


def fault_in(kind: ObjectType[Any], number: int, contract: str) -> str | None:
    """Why code that has `kind` cannot run that version of its class; None: it can."""
    known = kind.versions.get(number)
    if known is not None and known.contract == contract:
        return None
    if known is not None:
        return (
            f"version {number} of {known.name} there is another than here (other methods, types or state): "
            "start this node with their code, and give what was changed the next version (phalanx.version)"
        )
    if number > kind.version:
        return (
            f"it is at version {number} of the class, and this code has {kind.name} up to version {kind.version}: "
            "start this node with the newer code"
        )
    return (
        f"it is at version {number} of the class, and this code has {kind.name} from version {min(kind.versions)} on: "
        f"start this node with code that still has version {number} until the group has been upgraded, and its log "
        "begins after that"
    )


def wanted(kind: ObjectType[Any], own: GroupSpec, there: GroupSpec) -> GroupSpec | None:
    """What to ask for if that group is there: its spec, if it may run a version that is known here; None: it is another
    group than the one that would be hosted here."""
    if fault_in_founding(kind, there) is not None:
        return None
    same = (own.name, own.order, own.uniform, own.lease_ms, own.durable, own.min_copies)
    return (
        there
        if same == (there.name, there.order, there.uniform, there.lease_ms, there.durable, there.min_copies)
        else None
    )


def fault_in_founding(kind: ObjectType[Any], spec: GroupSpec) -> str | None:
    """Why no group that was founded with that spec can be hosted by code that has `kind`; None: it may be possible."""
    number = founded_with(spec)
    if number is None:
        return "it is no replicated object"
    return None if number < min(kind.versions) else fault_in(kind, number, spec.contract)
