"""What the numbers, names and vectors of a message may be, whoever sends it: the bounds, and tests for them."""

from collections.abc import Collection
from typing import Final

from phalanx.group.messages import Ballot, Vector
from phalanx.model.view import Address, GroupSpec, Member, Name

COUNT_MAX: Final = 1 << 61
"""Of batches, rows, bytes, tokens: what is counted up from here still fits into the 64 bits that an integer has on the
wire, and into a machine word of compiled code."""
STAMP_MAX: Final = 1 << 61
"""Stamps of the year 3084, and room above it for the ticks of whoever believes one."""
WALL_MS_MAX: Final = 1 << 45
"""The same year; before 1970 for a node without a battery, as far back."""
BALLOT_MAX: Final = 1 << 40
"""A ballot in every millisecond for 35 years, all in one view."""
VIEW_MAX: Final = 1 << 40
"""Ids of groups are made of it and 16 bits more."""
INCARNATION_MAX = 1 << 62
"""Milliseconds since the epoch, or a few more than the last one."""
LEAST_MAX = INCARNATION_MAX >> 1
"""What a refusal may demand: a node that obeys can be started again as often as it likes."""
EVERYONE_MAX: Final = 64
"""Members and learners of a view: masks of them are 64 bits on the wire."""
NAME_MAX: Final = 255
"""Letters of a node's name, as in a host's."""
ADDRESS_MAX = 512
"""Letters: the longest host name, a port, and a zone."""
TEXT_MAX = 8192
"""Letters of a reason, which may quote a group's specification, twice."""
SPEC_TEXT_MAX = 1024
"""Letters of a group's name, or of its contract, which is a digest."""
GROUPS_MAX = 1024
"""Wanted by one node.  A promise has a vector for each, and must fit into a frame."""
LEASE_MS_MAX = 3_600_000
"""An hour: a view change may have to wait for it."""
PAYLOADS_MAX: Final = 1 << 19
"""In one batch, which fits into a frame of 8 MiB, where an empty payload counts for 16 bytes."""
DIGEST_SIZE = 16


def is_view(view: int) -> bool:
    """It can be the id of a view."""
    return 0 <= view < VIEW_MAX


def are_counts(*numbers: int) -> bool:
    """None is negative, or larger than anything that is counted."""
    return not numbers or (min(numbers) >= 0 and max(numbers) < COUNT_MAX)


def is_vector(vector: Vector, size: int) -> bool:
    """A count for each of so many hosts."""
    return len(vector) == size and all(0 <= count < COUNT_MAX for count in vector)


def are_masks(masks: tuple[int, ...], size: int) -> bool:
    """They have bits of so many members only."""
    limit = 1 << size
    return all(0 <= mask < limit for mask in masks)


def are_unique(things: Collection[object]) -> bool:
    """No two are equal."""
    return len(set(things)) == len(things)


def is_name(name: Name) -> bool:
    """It can be the name of a node."""
    return 0 < len(name) <= NAME_MAX


def is_place(address: Address) -> bool:
    """It can be an address."""
    return 0 < len(address) <= ADDRESS_MAX


def is_ballot(ballot: Ballot) -> bool:
    """A coordinator can have made it."""
    return 1 <= ballot.counter < BALLOT_MAX and is_name(ballot.name) and 1 <= ballot.incarnation < INCARNATION_MAX


def fault_in_member(member: Member) -> str | None:
    """Why that cannot be a member; None if it can."""
    if not (is_name(member.name) and is_place(member.address)):
        return "a member whose name or address is empty or too long"
    return None if 1 <= member.incarnation < INCARNATION_MAX else f"no incarnation: {member.incarnation}"


def fault_in_spec(spec: GroupSpec) -> str | None:
    """Why no group can be like that; None if one can."""
    if max(len(spec.name), len(spec.contract)) > SPEC_TEXT_MAX:
        return "a group whose name or contract is too long"
    if not 0 <= spec.lease_ms <= LEASE_MS_MAX:
        return f"no length of leases: {spec.lease_ms} ms"
    if not 1 <= spec.min_copies <= (EVERYONE_MAX if spec.durable else 1):
        return f"no number of durable copies: {spec.min_copies} of a {'durable' if spec.durable else 'memory'} group"
    return None
