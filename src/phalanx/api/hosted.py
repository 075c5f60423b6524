"""Which replicated objects a process hosts from its beginning, and how."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from phalanx.api.arguments import class_of, mapping_of, name_of
from phalanx.api.specs import spec_of
from phalanx.errors import ConfigurationError, Refused
from phalanx.model.view import Group, GroupSpec, Order, View
from phalanx.replication.objects import ObjectType, describe
from phalanx.replication.versions import fault_in_founding, wanted

T = TypeVar("T")


class Hosted(NamedTuple):
    """A replicated object to host from the very beginning: its class, the length of its read leases in milliseconds, and
    whether it is durable, with how many copies (see `Process.host`)."""

    cls: type[Any]
    lease_ms: int = 0
    durable: bool = False
    min_copies: int = 1


Objects = Mapping[str, tuple[type[Any], int] | Hosted]
"""By name."""


def all_hosted(objects: Objects | None) -> dict[str, Hosted]:
    """What is to be hosted, by name.  Raises as `hosted_of`."""
    return {name: hosted_of(name, what) for name, what in mapping_of(objects or {}, "objects").items()}


def hosted_of(name: str, what: object) -> Hosted:
    """What is to be hosted under a name.  Raises `TypeError` for what does not say it, and `ConfigurationError` for what
    is no name."""
    name_of(name, "the name of an object")
    if isinstance(what, tuple) and isinstance(what[0] if what else None, type) and len(what) <= len(Hosted._fields):
        return Hosted(*what)
    raise TypeError(f"objects[{name!r}] must be (Class, lease_ms) or Hosted(Class, ...), not {what!r}")


def described(
    name: str, cls: type[T], lease_ms: int = 0, durable: bool = False, min_copies: int = 1
) -> tuple[ObjectType[T], GroupSpec]:
    """The class as a replicated object, and the group that it lives in, which has the class's name if none is given.
    Raises `ConfigurationError`, and `TypeError` for what is no class or no name."""
    kind: ObjectType[T] = describe(class_of(cls))
    named = name or cls.__name__
    return kind, spec_of(named, "an object", Order.TOTAL, False, lease_ms, kind.contract, durable, min_copies)


GROUP, OBJECT, TROUPE = "a group of payloads", "a replicated object", "a troupe"
"""What a group can be to a process."""


class Uses:
    """What a process takes each name for: groups, objects and troupes share the names of groups."""

    def __init__(self, first: Mapping[str, tuple[ObjectType[Any], GroupSpec]]) -> None:
        """`first`: objects that it hosts from its beginning."""
        self._uses: dict[str, str] = {}
        self._first = first
        self._kinds: dict[str, ObjectType[Any]] = {}
        self._refused: dict[str, str] = {}
        self._kept = set(first)
        self.claim_first(None)

    @property
    def names(self) -> frozenset[str]:
        """All that are taken."""
        return frozenset(self._uses)

    def claim_first(self, view: View | None) -> None:
        """As `claim`, for those objects; raises `Refused` as well if there is no code here for what one of them runs."""
        for kind, spec in self._first.values():
            if (why := self._refused.pop(spec.name, None)) is not None:
                raise Refused(why)
            self.claim(view, spec, OBJECT, kind)

    def is_whole(self, view: View, me: str) -> bool:
        """The process is a full member there, and a host of those of its first objects that were founded with another
        version of their class: until then it may find that it cannot run them."""
        found = [(group, self._first[group.spec.name]) for group in view.groups if group.spec.name in self._first]
        lacks = any(group.spec != spec and me not in group.hosts for group, (_, spec) in found)
        return view.rank(me) >= 0 and not lacks

    def claim(self, view: View | None, spec: GroupSpec, what: str, kind: ObjectType[Any] | None = None) -> None:
        """Take the name for that.  `kind`: of an object.  Raises `ConfigurationError` if it is taken for something else,
        and `Refused` if the cluster has another group of that name."""
        used = self._uses.get(spec.name, what)
        if used != what:
            raise ConfigurationError(f"{spec.name!r} is {used} at this process: {what} needs another name")
        if (why := _why_refused(view, spec, kind)) is not None:
            raise Refused(why)
        self._uses[spec.name] = what
        if kind is not None:
            self._kinds[spec.name] = kind

    def why_refused(self, view: View | None, spec: GroupSpec) -> str | None:
        """Why this process cannot host that group: the cluster has another of its name.  None: it has not, as far as the
        view says."""
        return _why_refused(view, spec, self._kinds.get(spec.name))

    def refuse(self, name: str, reason: str) -> str:
        """The group runs a version of the class that there is no code for here; in words."""
        self._refused[name] = f"{name} cannot be hosted here: {reason}; nothing was changed"
        return self._refused[name]

    def keep(self, name: str) -> None:
        """Somebody has been given it, and whoever asks for it as well cannot give it up."""
        self._kept.add(name)

    def is_kept(self, name: str) -> bool:
        """Whether somebody has it, or the process hosts it from its beginning."""
        return name in self._kept

    def release(self, name: str) -> None:
        """It is taken for nothing any more."""
        self._uses.pop(name, None)
        self._kinds.pop(name, None)
        self._refused.pop(name, None)
        self._kept.discard(name)


_PLAIN = "payloads"
_KINDS = {
    "": _PLAIN,
    "global-state": "payloads with global states",
    "object": "a replicated object",
    "troupe": "a troupe",
}
"""By what the contract begins with."""


def _why_refused(view: View | None, spec: GroupSpec, kind: ObjectType[Any] | None) -> str | None:
    suspended = [each.group for each in view.suspended] if view is not None else []
    for group in (*(view.groups if view is not None else ()), *suspended):
        if group.spec.name == spec.name and group.spec != spec:
            if kind is not None and wanted(kind, spec, group.spec) is not None:
                return None
            return f"{spec.name} cannot be hosted here: {_difference(group, spec, kind)}; nothing was changed"
    return None


def _difference(group: Group, wanted: GroupSpec, kind: ObjectType[Any] | None) -> str:
    there, hosts = group.spec, ", ".join(group.hosts)
    kinds = [_KINDS.get(spec.contract.partition("/")[0], spec.contract) for spec in (there, wanted)]
    if kinds[0] != kinds[1]:
        return f"at {hosts} that group is of {kinds[0]}, here it would be of {kinds[1]}"
    if kind is not None and (fault := fault_in_founding(kind, there)) is not None:
        return f"{hosts} host it, and {fault}"
    if kind is None and there.contract != wanted.contract:
        return f"{hosts} host it with other procedures: start this node with theirs"
    fields = [
        f"{field}={there_is} there and {here} here"
        for field, there_is, here in (
            ("order", there.order.value, wanted.order.value),
            ("uniform", there.uniform, wanted.uniform),
            ("lease_ms", there.lease_ms, wanted.lease_ms),
            ("durable", there.durable, wanted.durable),
            ("min_copies", there.min_copies, wanted.min_copies),
        )
        if there_is != here
    ]
    return f"{hosts} host it with other settings: {', '.join(fields)}"
