"""What a class's hooks for watches raise costs those who watch, and not the node (docs/objects.md)."""

from typing import ClassVar

import pytest

from phalanx.errors import Compacted
from phalanx.model.replicated import feed
from phalanx.replication.following import FROM_NOW
from phalanx.replication.messages import Reply
from phalanx.replication.objects import describe
from phalanx.replication.outcome import Raised
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Feed
from tests.replication.test_watches import Shop


class Frail(KV):
    """A store whose hooks raise what they are told to."""

    breaks: ClassVar[dict[str, BaseException]] = {}
    places: ClassVar[dict[str, int]] = {"beyond": 1 << 64, "below": -1}

    def _try(self, hook: str) -> None:
        if hook in self.breaks:
            raise self.breaks[hook]

    @feed(raises=(Compacted,))
    def watch(
        self,
        position: int,
        start: bytes,
        end: bytes | None,
        puts: bool = True,
        deletes: bool = True,
        previous: bool = False,
    ) -> Feed:
        self._try("watch")
        found = super().watch(position, start, end, puts, deletes, previous)
        if "more" in self.breaks:
            return Feed([], position, True)
        if "far" in self.breaks:
            return Feed([], 1 << 64, False)
        return Feed(found.events * 9_000, found.position, False) if "large" in self.breaks else found

    def position(self) -> int:
        self._try("position")
        if "type" in self.breaks:
            return "seven"  # type: ignore[return-value]  # a mistake
        return self.places.get(next(iter(self.breaks), ""), super().position())

    def touched(self, position: int) -> set[bytes]:
        self._try("touched")
        return super().touched(position)


FRAIL = describe(Frail)
OF_POSITION = ("position", "type", "beyond", "below")


@pytest.mark.parametrize(
    ("hook", "error", "type_name"),
    [
        ("position", RuntimeError("broken"), "RuntimeError"),
        ("position", SystemExit(3), "SystemExit"),
        ("type", TypeError(), "TypeError"),
        ("beyond", ValueError(), "ValueError"),
        ("below", ValueError(), "ValueError"),
        ("watch", RuntimeError("broken"), "RuntimeError"),
        ("watch", SystemExit(3), "SystemExit"),
        ("more", ValueError(), "ValueError"),
        ("far", ValueError(), "ValueError"),
        ("large", ValueError(), "OversizedResult"),
    ],
)
def test_a_feed_or_its_position_that_raises_ends_the_watches_and_not_the_node(
    hook: str, error: BaseException, type_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(kind=FRAIL)
    shop.watch(b"", None)
    shop.turn()
    shop.put(b"a", bytes(1_000))
    with monkeypatch.context() as patch:
        patch.setitem(Frail.breaks, hook, error)
        told = shop.turn()
        for after in (0, FROM_NOW) if hook in OF_POSITION else (0,):
            shop.watch(b"", None, after)
            told += shop.turn()
        ends = [message.outcome for message in told if isinstance(message, Reply)]
        assert len(ends) == len(told) > 1, "that is all that is said"
        assert {end.type_name for end in ends if isinstance(end, Raised)} == {type_name}
        shop.put(b"b")
        assert shop.turn() == []
    assert len(shop.failed) == (hook in OF_POSITION), "it is said once, if nobody else is told"
    shop.watch(b"", None)
    assert shop.told() == [(b"a", 1), (b"b", 2)]


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3)])
def test_where_touched_raises_each_watch_is_asked(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(kind=FRAIL)
    shop.watch(b"", None)
    shop.turn()
    monkeypatch.setitem(Frail.breaks, "touched", error)
    shop.put(b"a")
    assert shop.told() == [(b"a", 1)]
