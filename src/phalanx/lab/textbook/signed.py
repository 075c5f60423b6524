"""SM(m): Byzantine generals with signed messages (Lamport, Shostak, Pease 1982, section 4).

The commander signs an order and sends it to all.  A lieutenant that gets, in round k, an order that is new to it, with k
signatures, the commander's first, adds its own and passes it on to all who have not signed; after m + 1 signatures
nobody does any more.  In the end it obeys `choice` of the orders that it holds.

A signature covers the order and all signatures before it.  In round k exactly k signatures count: an order that comes
too late would be known to some lieutenants and not passed on to the others any more.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.lab.textbook import signatures
from phalanx.lab.textbook.oral import Value
from phalanx.lab.textbook.rounds import Lockstep
from phalanx.model.machine import Output, Send
from phalanx.model.view import Name


class Signature(msgspec.Struct, frozen=True):
    """By whom it claims to be, and its bytes."""

    name: Name
    sealed: bytes


class Signed(msgspec.Struct, frozen=True):
    """The paper's v:0:j1:...:jk."""

    value: Value
    chain: tuple[Signature, ...]

    @property
    def signers(self) -> tuple[Name, ...]:
        return tuple(signature.name for signature in self.chain)

    def __str__(self) -> str:
        return ":".join((self.value, *self.signers))


def sealed_text(value: Value, chain: Sequence[Signature]) -> bytes:
    """What the next signature covers."""
    return msgspec.json.encode((value, [(signature.name, signature.sealed.hex()) for signature in chain]))


def signed_by(order: Signed, name: Name, key: Name | None = None) -> Signed:
    """The order with one more signature, in the name of `name`.  A forger uses another's key than that."""
    seal = signatures.sign(key or name, sealed_text(order.value, order.chain))
    return Signed(order.value, (*order.chain, Signature(name, seal)))


def is_genuine(order: Signed) -> bool:
    """All its signatures are of those whose names they have (assumption A4)."""
    return all(
        signatures.is_signed(signature.name, sealed_text(order.value, order.chain[:index]), signature.sealed)
        for index, signature in enumerate(order.chain)
    )


def choice(orders: Iterable[Value]) -> Value:
    """The only order that there is; RETREAT if there are none, or several."""
    found = set(orders)
    return found.pop() if len(found) == 1 else Value.RETREAT


class SignedGeneral(Lockstep):
    """One loyal general; its delivery, after the last round, is what it does.  Arguments as for `OralGeneral`."""

    def __init__(self, me: Name, generals: Sequence[Name], commander: Name, m: int, order: Value | None = None) -> None:
        super().__init__(rounds=m + 1)
        assert (order is not None) == (me == commander), "only the commander orders"
        self._me = me
        self._generals = tuple(generals)
        self._commander = commander
        self._order = order
        self._held: dict[Value, Signed] = {}
        """The paper's V, with the first message for each."""
        self._new: list[Signed] = []

    def fork(self) -> "SignedGeneral":
        """An equal machine that goes its own way."""
        other = copy.copy(self)
        other._held = dict(self._held)
        other._new = list(self._new)
        return other

    def absorb(self, source: Name, message: Any) -> None:
        if isinstance(message, Signed) and message.value not in self._held and self._is_due(source, message):
            self._held[message.value] = message
            self._new.append(message)

    def _is_due(self, source: Name, order: Signed) -> bool:
        names = order.signers
        return (
            len(names) == self.round
            and names[0] == self._commander
            and names[-1] == source
            and len({*names, self._me}) == len(names) + 1
            and all(name in self._generals for name in names)
            and is_genuine(order)
        )

    def act(self, out: Output) -> None:
        if self._me == self._commander:
            if self.round == 0:
                assert self._order is not None
                self._pass_on(out, Signed(self._order, ()))
            elif self.round == self.rounds:
                out.deliveries.append(self._order)
            return
        new, self._new = self._new, []
        if self.round < self.rounds:
            for order in new:
                self._pass_on(out, order)
        else:
            out.deliveries.append(choice(self._held))

    def _pass_on(self, out: Output, order: Signed) -> None:
        others = [name for name in self._generals if name not in order.signers and name != self._me]
        if others:
            out.sends.append(Send(others, signed_by(order, self._me)))
