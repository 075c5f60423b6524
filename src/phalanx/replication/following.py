"""The client's side of watches: each goes on from where it is, at whichever node serves the group (SCENARIOS 33).

A watch is *registered* at the current endpoint of its group's route, or waits to be.  Batches must join without a gap:
one that begins where the watch is not shows that something was lost between, and the watch is registered anew from where
it is.  So nothing is lost, doubled or out of order, whatever happens to messages, links and nodes.

An endpoint that says nothing for `SILENCE_NS`, though the watch has given it credit, is left for the next one.  A
watch ends by an error of the feed, by a refusal that is final, when nothing was heard for its `patience_ns`, or when the
program ends it: always with one `Ended`.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from phalanx.model.clock import SECOND
from phalanx.model.machine import Output, Send
from phalanx.model.view import Address
from phalanx.replication.allegiance import Allegiance
from phalanx.replication.feeds import PROGRESS_NS
from phalanx.replication.messages import FINAL, Batch, Declined, Reason, Reply, Unwatch, Watch, WatchMore
from phalanx.replication.outcome import Raised
from phalanx.replication.route import Route

SILENCE_NS = 3 * PROGRESS_NS
"""After this an endpoint that has credit and says nothing is given up."""

ABSENCE_NS = SECOND // 2
"""A step that comes so much too late: it was this process that was stopped, or its loop busy, and the silence its own."""

WINDOW = 4
"""Batches that a watch may have been sent and the program not taken."""

FOLLOWS_MAX = 1_000
"""Watches of one client: fewer than a node grants to one connection."""

FROM_NOW = -1


class Follow(NamedTuple):
    """Begin a watch beyond `position` (`FROM_NOW`: beyond what is acknowledged by now).  patience_ns: how long nothing
    may be heard of any node; 0: for ever."""

    token: int
    group: str
    operation: str
    types: int
    arguments: bytes
    position: int
    patience_ns: int = 0


class Took(NamedTuple):
    """The program has taken a batch of that watch."""

    token: int


class Unfollow(NamedTuple):
    """End the watch: nothing more of it is delivered."""

    token: int


class Fed(NamedTuple):
    """A batch for the program, to be answered by `Took`; or, with `data` empty, only the position that it has come to.
    identity: the group's id."""

    token: int
    identity: int
    position: int
    data: bytes


class Ended(NamedTuple):
    """The end of a watch: what the feed raised, or why nobody serves it."""

    token: int
    raised: Raised | None
    reason: Reason | None
    text: str


class _Followed:
    """One watch.  `request`: its registration at the current endpoint, 0 if it waits; `held`: batches not taken yet."""

    __slots__ = (
        "cluster",
        "credit",
        "follow",
        "heard_at",
        "held",
        "identity",
        "of",
        "position",
        "progress_at",
        "request",
    )

    def __init__(self, follow: Follow, now: int) -> None:
        self.follow = follow
        self.position = follow.position
        self.identity = 0
        self.request = 0
        self.cluster = 0
        """Which that registration named."""
        self.of = 0
        """Which its position is of; 0: the program gave it."""
        self.held = 0
        self.credit = 0
        """To be given back: batches taken, and signs of life."""
        self.heard_at = now
        """When the present endpoint was last heard of, or the watch registered there."""
        self.progress_at = now
        """When anything was last heard at all."""


class Following:
    """All watches of one client.  `number` gives the numbers of requests, in the order in which they are sent;
    `allegiance`: the client's."""

    def __init__(
        self,
        endpoints: Callable[[], list[Address]],
        rng: random.Random,
        number: Callable[[], int],
        allegiance: Allegiance,
    ) -> None:
        self._allegiance = allegiance
        self._endpoints = endpoints
        self._rng = rng
        self._next = number
        self._routes: dict[str, Route] = {}
        self._by_token: dict[int, _Followed] = {}
        self._by_request: dict[int, _Followed] = {}
        self._due_at: int | None = None
        """When something is due; a step that comes much later was kept from it."""

    # --- the program ----------------------------------------------------------------------------------------------

    def follow(self, follow: Follow, now: int, out: Output) -> None:
        """A watch begins."""
        assert follow.token not in self._by_token, "one token per watch"
        if len(self._by_token) >= FOLLOWS_MAX:
            text = f"this client has {FOLLOWS_MAX} watches, which is the limit"
            out.deliveries.append(Ended(follow.token, None, Reason.BUSY, text))
            return
        if follow.group not in self._routes:
            self._routes[follow.group] = Route(self._endpoints(), self._rng)
        self._by_token[follow.token] = _Followed(follow, now)

    def took(self, token: int, now: int) -> None:
        """The program has taken a batch."""
        followed = self._by_token.get(token)
        if followed is not None:
            if followed.held == WINDOW:
                followed.heard_at = followed.progress_at = now  # without credit nothing could come
            followed.held -= 1
            followed.credit += 1

    def unfollow(self, token: int, out: Output) -> None:
        """The program ends the watch."""
        followed = self._by_token.pop(token, None)
        if followed is not None:
            self._deregister(followed, out)

    def close(self, out: Output) -> None:
        """The client ends."""
        for token in list(self._by_token):
            self._end(self._by_token[token], None, None, "the client was closed", out)

    # --- what comes -----------------------------------------------------------------------------------------------

    def lost(self, address: Address, now: int) -> None:
        """The link to that address broke."""
        for group, route in self._routes.items():
            if route.current == address:
                self._leave(group, None)
                route.failed(now)

    def hear(self, message: Batch | Reply | Declined, now: int, out: Output) -> bool:
        """False if it answers no watch."""
        followed = self._by_request.get(message.request)
        if followed is None:
            return isinstance(message, Batch)  # of a watch that has ended, or was registered elsewhere since
        match message:
            case Batch():
                self._batch(followed, message, now, out)
            case Reply(_, outcome, _):
                error = outcome if isinstance(outcome, Raised) else None
                self._end(followed, error, None, "the node ended the watch", out)
            case Declined():
                self._declined(followed, message, now, out)
        return True

    def _batch(self, followed: _Followed, batch: Batch, now: int, out: Output) -> None:
        if not self._allegiance.accepts(followed.cluster, batch.cluster):
            self._deregister(followed, out)
            return
        followed.heard_at = followed.progress_at = now
        if followed.position == FROM_NOW:
            followed.position = batch.after
        if batch.after != followed.position:
            out.note("client.watch_gap", followed.follow.group, followed.position, batch.after)
            self._deregister(followed, out)
            return
        self._routes[followed.follow.group].worked()
        followed.of = batch.cluster or followed.cluster
        followed.position, followed.identity = batch.position, batch.identity
        if batch.data:
            followed.held += 1
        else:
            followed.credit += 1
        out.deliveries.append(Fed(followed.follow.token, batch.identity, batch.position, batch.data))

    def _declined(self, followed: _Followed, declined: Declined, now: int, out: Output) -> None:
        if declined.reason in FINAL:
            ours = self._allegiance
            before = ours.cluster
            if declined.cluster and ours.accepts(followed.cluster, declined.cluster) and ours.cluster != before:
                ours.untold = declined.text
            self._end(followed, None, declined.reason, declined.text, out)
            return
        group = followed.follow.group
        if declined.reason is Reason.FOREIGN:
            self._leave(group, out)
            if self._routes[group].strange(now):
                for each in [each for each in self._by_token.values() if each.follow.group == group]:
                    self._end(each, None, Reason.FOREIGN, declined.text, out)
        elif declined.reason is Reason.BUSY:
            self._deregister(followed, out)
            self._routes[group].hold(now)
        else:
            self._leave(group, out)
            self._routes[group].redirect(declined.endpoints, now)

    # --- rules ----------------------------------------------------------------------------------------------------

    def step(self, now: int, out: Output) -> None:
        """End what has waited too long, leave silent endpoints, register, and give credit."""
        if self._due_at is not None and now - self._due_at >= ABSENCE_NS:
            for followed in self._by_token.values():  # their nodes may have said much, had anybody listened
                followed.heard_at = followed.progress_at = now
        self._due_at = None
        if self._by_token:
            self._rules(now, out)
            self._due_at = min(self._due(), default=None)

    def _rules(self, now: int, out: Output) -> None:
        for followed in list(self._by_token.values()):
            follow = followed.follow
            if follow.patience_ns and followed.progress_at + follow.patience_ns <= now and not followed.held:
                seconds = follow.patience_ns / SECOND
                self._end(followed, None, Reason.ELSEWHERE, f"no node was heard for {seconds:g} s", out)
            elif followed.request and followed.held < WINDOW and followed.heard_at + SILENCE_NS <= now:
                out.note("client.watch_silence", follow.group, self._routes[follow.group].current)
                self._leave(follow.group, out)
                self._routes[follow.group].failed(now)
        for followed in self._by_token.values():
            route = self._routes[followed.follow.group]
            if followed.request:
                if followed.credit:
                    message = WatchMore(self._next(), followed.request, followed.credit)
                    followed.credit = 0
                    out.sends.append(Send((route.current,), message))
            elif followed.held < WINDOW and route.ready_at <= now:
                self._register(followed, route, now, out)

    @property
    def deadline(self) -> int | None:
        """When something is due, as of the last step."""
        return self._due_at

    def _due(self) -> Iterator[int]:
        for followed in self._by_token.values():
            if followed.follow.patience_ns and not followed.held:
                yield followed.progress_at + followed.follow.patience_ns
            if followed.held >= WINDOW:
                continue
            if followed.request:
                yield followed.heard_at + SILENCE_NS
            else:
                yield self._routes[followed.follow.group].ready_at

    def _register(self, followed: _Followed, route: Route, now: int, out: Output) -> None:
        follow = followed.follow
        followed.request = self._next()
        followed.cluster = followed.of or self._allegiance.cluster
        followed.credit = 0
        followed.heard_at = now
        self._by_request[followed.request] = followed
        watch = Watch(
            followed.request,
            follow.group,
            followed.identity,
            follow.operation,
            follow.types,
            follow.arguments,
            followed.position,
            WINDOW - followed.held,
            followed.cluster,
        )
        out.sends.append(Send((route.current,), watch))

    def _deregister(self, followed: _Followed, out: Output) -> None:
        if followed.request:
            del self._by_request[followed.request]
            current = self._routes[followed.follow.group].current
            out.sends.append(Send((current,), Unwatch(self._next(), followed.request)))
            followed.request = 0

    def _leave(self, group: str, out: Output | None) -> None:
        """The group's route goes on to another endpoint: all its watches are to be registered anew.  `out`: tell the
        present one, which is there."""
        for followed in self._by_token.values():
            if followed.follow.group != group or not followed.request:
                continue
            if out is not None:
                self._deregister(followed, out)
            else:
                del self._by_request[followed.request]
                followed.request = 0

    def _end(self, followed: _Followed, error: Raised | None, reason: Reason | None, text: str, out: Output) -> None:
        del self._by_token[followed.follow.token]
        self._deregister(followed, out)
        out.deliveries.append(Ended(followed.follow.token, error, reason, text))
