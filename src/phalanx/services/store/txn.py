"""Transactions: what they may contain, whether their compares hold, and how their operations are done.

Everything is checked before anything is changed.  Within one branch no key is changed twice (as in etcd), so the checks
can look at the state as it is before the transaction, and a revision says about a key one thing.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import attrgetter, eq, gt, lt, ne
from typing import Any, assert_never

from phalanx.errors import LeaseLost, Quota, Refused, TooLarge
from phalanx.services.store import limits
from phalanx.services.store.index import Index
from phalanx.services.store.leases import Leases
from phalanx.services.store.values import (
    Append,
    Appended,
    Compare,
    Created,
    Delete,
    Deleted,
    DeleteRange,
    Exists,
    Found,
    Get,
    Modified,
    Operation,
    Put,
    Result,
    Scan,
    Scanned,
    Value,
    Version,
    Versioned,
    Written,
)

_Plain = Put | Get | Scan | Delete | DeleteRange
"""Operations whose keys are known."""

_OPS: dict[str, Callable[[Any, Any], bool]] = {"==": eq, "!=": ne, "<": lt, ">": gt}

# --- form: depends on the transaction alone -----------------------------------------------------------------------


def check_form(when: Sequence[Compare], *branches: Sequence[Operation]) -> None:
    """Raises `TooLarge` for too many operations, `Refused` if a branch changes a key twice or has a limit
    below 1."""
    if max(len(when), *map(len, branches)) > limits.TXN_OPERATIONS_MAX:
        raise TooLarge(f"a transaction has up to {limits.TXN_OPERATIONS_MAX} compares, and operations in each branch")
    for branch in branches:
        if sum(isinstance(operation, Scan) for operation in branch) > limits.TXN_SCANS_MAX:
            raise TooLarge(f"a transaction has up to {limits.TXN_SCANS_MAX} scans in each branch")
        if any(isinstance(operation, Scan) and operation.limit < 1 for operation in branch):
            raise Refused("a scan has a limit of at least 1")
        _check_disjoint(branch)


def _check_disjoint(branch: Iterable[Operation]) -> None:
    """(etcd allows deleted ranges to overlap each other; here that is refused too.)"""
    deletes = [o for o in branch if isinstance(o, DeleteRange) and (o.end is None or o.end > o.start)]
    spans = [(o.start, o.end) for o in sorted(deletes, key=attrgetter("start"))]
    for (_, end), (start, _) in pairwise(spans):
        if end is None or start < end:
            raise Refused(f"the transaction deletes {start!r} twice")
    starts = [start for start, _ in spans]
    seen: set[bytes] = set()
    for operation in branch:
        if isinstance(operation, (Put, Delete)):
            key = operation.key
            at = bisect_right(starts, key) - 1
            covered = at >= 0 and ((end := spans[at][1]) is None or key < end)
            if covered or key in seen:
                raise Refused(f"the transaction changes {key!r} twice")
            seen.add(key)


# --- state --------------------------------------------------------------------------------------------------------


def holds(index: Index, compare: Compare) -> bool:
    """Whether the compare is true now."""
    item = index.get(compare.key)
    match compare:
        case Exists(_, expected):
            return (item is not None) is expected
        case Value(_, op, value):
            return item is not None and _OPS[op](item.value, value)
        case Version(_, op, number):
            return _OPS[op](item.version if item else 0, number)
        case Created(_, op, revision):
            return _OPS[op](item.created if item else 0, revision)
        case Modified(_, op, revision):
            return _OPS[op](item.modified if item else 0, revision)
        case _:
            assert_never(compare)


def keys_to_delete(index: Index, operation: Delete | DeleteRange) -> list[bytes]:
    """The present keys that it removes.  Raises `TooLarge` if they are too many."""
    if isinstance(operation, Delete):
        return [operation.key] if index.get(operation.key) is not None else []
    start, end = operation.start, operation.end
    count = index.count(start, end)
    if count > limits.DELETE_KEYS_MAX:
        raise TooLarge(f"{count} keys to delete at once; the limit is {limits.DELETE_KEYS_MAX}: do it in parts")
    return list(index.keys(start, end))


def with_keys(index: Index, branch: Sequence[Operation]) -> list[_Plain]:
    """The branch with a `Put` for each `Append`: its number is the revision that the transaction makes, and its place.
    Raises `Refused` for a key that is there already, or is changed twice."""
    plain: list[_Plain] = []
    for place, operation in enumerate(branch):
        if isinstance(operation, Append):
            key = appended(operation.prefix, index.revision + 1, place)
            if index.get(key) is not None:
                raise Refused(f"{key!r} is there already: somebody put a key that looks like one that is appended")
            plain.append(Put(key, operation.value, operation.lease))
        else:
            plain.append(operation)
    if any(isinstance(operation, Append) for operation in branch):
        _check_disjoint(plain)
    return plain


def appended(prefix: bytes, revision: int, place: int) -> bytes:
    """The key that an `Append` makes."""
    return prefix + b"%016x%02x" % (revision, place)


def check_state(index: Index, leases: Leases, branch: Sequence[_Plain]) -> None:
    """Raises what `check_changes` raises, and `TooLarge` if the branch deletes or answers too much."""
    puts = [operation for operation in branch if isinstance(operation, Put)]
    doomed = [k for o in branch if isinstance(o, (Delete, DeleteRange)) for k in keys_to_delete(index, o)]
    if len(doomed) > limits.DELETE_KEYS_MAX:
        raise TooLarge(f"{len(doomed)} keys to delete at once; the limit is {limits.DELETE_KEYS_MAX}: do it in parts")
    check_changes(index, leases, puts, doomed)
    size = _answer_bytes_most(index, branch, puts)
    if size > limits.TXN_BYTES_MAX:
        raise TooLarge(f"the transaction would answer up to {size} bytes; the limit is {limits.TXN_BYTES_MAX}")


def check_changes(index: Index, leases: Leases, puts: Sequence[Put], doomed: Iterable[bytes]) -> None:
    """May these puts be done, of distinct keys, together with the removal of other keys that are present?  Raises
    `TooLarge`, `Quota` or `LeaseLost`."""
    size, keys = index.bytes, len(index)
    joining: dict[int, int] = {}
    for key, value, lease in ((put.key, put.value, put.lease) for put in puts):
        if len(key) > limits.KEY_BYTES_MAX:
            raise TooLarge(f"a key of {len(key)} bytes; the limit is {limits.KEY_BYTES_MAX}")
        if len(value) > limits.VALUE_BYTES_MAX:
            raise TooLarge(f"a value of {len(value)} bytes; the limit is {limits.VALUE_BYTES_MAX}")
        found = index.get(key)
        size += len(value) - len(found.value) if found else len(key) + len(value)
        keys += found is None
        if lease:
            if lease not in leases:
                raise LeaseLost(f"the store knows no lease {lease}: it has expired or was revoked")
            joining[lease] = joining.get(lease, 0) + (found is None or found.lease != lease)
    for key in doomed:
        item = index.get(key)
        size -= len(key) + (len(item.value) if item else 0)
        keys -= 1
    if size > limits.STORE_BYTES_MAX and size > index.bytes:
        raise Quota(f"the store would hold {size} bytes; the limit is {limits.STORE_BYTES_MAX}")
    if keys > limits.KEYS_MAX and keys > len(index):
        raise Quota(f"the store would hold {keys} keys; the limit is {limits.KEYS_MAX}")
    for lease, more in joining.items():
        if more and leases.count(lease) + more > limits.LEASE_KEYS_MAX:
            raise Quota(f"a lease has up to {limits.LEASE_KEYS_MAX} keys")


def _answer_bytes_most(index: Index, branch: Sequence[_Plain], puts: Sequence[Put]) -> int:
    put = {each.key: len(each.value) for each in puts}
    added = sum(len(key) + size for key, size in put.items())
    size = 0
    for operation in branch:
        if isinstance(operation, Get):
            item = index.get(operation.key)
            size += max(len(item.value) if item else 0, put.get(operation.key, 0))
        elif isinstance(operation, Scan):
            page = index.page(operation.start, operation.end, operation.limit)
            size += added + sum(len(key) + len(item.value) for key, item in page.items)
    return size


def perform(
    index: Index,
    branch: Sequence[Operation],
    plain: Sequence[_Plain],
    put: Callable[[bytes, bytes, int], Versioned],
    remove: Callable[[bytes], None],
) -> list[Result]:
    """Do a branch; the result of each operation.  `plain`: of `with_keys`."""
    results = [_perform(index, operation, put, remove) for operation in plain]
    for place, (operation, done) in enumerate(zip(branch, plain, strict=True)):
        if isinstance(operation, Append):
            assert isinstance(done, Put)
            results[place] = Appended(done.key)
    return results


def _perform(
    index: Index,
    operation: _Plain,
    put: Callable[[bytes, bytes, int], Versioned],
    remove: Callable[[bytes], None],
) -> Result:
    """Do one operation; its result."""
    match operation:
        case Put(key, value, lease):
            item = put(key, value, lease)
            return Written(item.created, item.version)
        case Get(key):
            return Found(index.get(key))
        case Scan(start, end, limit):
            return Scanned(index.page(start, end, limit))
        case Delete() | DeleteRange():
            doomed = keys_to_delete(index, operation)
            for key in doomed:
                remove(key)
            return Deleted(len(doomed))
        case _:
            assert_never(operation)
