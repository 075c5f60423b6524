"""The replicated objects of a node, and by which specs it asks for their groups.

The group machine compares specs, and one says with which version of its class a group was founded.  Which one it runs is
the replicas' affair (`replication.upgrading`), so a node that has another version asks for the group as it is there, if
it may be able to run that.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from phalanx.model.view import GroupSpec, View
from phalanx.replication.objects import ObjectType
from phalanx.replication.versions import founded_with, wanted


class Objects:
    """By the name of the group: the class, and the spec of a group that is founded with it."""

    def __init__(self, objects: Mapping[str, tuple[ObjectType[Any], GroupSpec]]) -> None:
        self._objects = dict(objects)

    def add(self, kind: ObjectType[Any], spec: GroupSpec) -> None:
        """One more."""
        self._objects[spec.name] = kind, spec

    def kinds(self) -> Iterable[tuple[str, ObjectType[Any]]]:
        """Their names and classes."""
        return [(name, kind) for name, (kind, _) in self._objects.items()]

    def specs(self) -> dict[str, GroupSpec]:
        """For groups that are to be founded."""
        return {name: spec for name, (_, spec) in self._objects.items()}

    def asked(self, name: str, view: View) -> GroupSpec | None:
        """The spec to ask for where that is the view; None: the group of that name there is another one."""
        kind, own = self._objects[name]
        groups = (*view.groups, *(suspended.group for suspended in view.suspended))
        there = next((group.spec for group in groups if group.spec.name == name), None)
        return own if there is None else wanted(kind, own, there)

    def known_to(self, view: View | None) -> dict[str, GroupSpec]:
        """What to ask for at the start, if that was the last view: so nobody is a full member before it is asked to host
        what is still there.  What is in memory may be gone, and is founded again as a version that is known here."""
        found = {name: self.asked(name, view) for name in self._objects} if view is not None else {}
        return {
            name: spec
            for name, spec in found.items()
            if spec is not None and (spec.durable or founded_with(spec) in self._objects[name][0].versions)
        }

    def __bool__(self) -> bool:
        return bool(self._objects)

    def __contains__(self, name: str) -> bool:
        return name in self._objects
