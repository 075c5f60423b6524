"""Replication without one of its rules: what judges must notice."""

from typing import Any

import pytest

from phalanx.model.events import Barrier, BarrierReached
from phalanx.model.machine import Output
from phalanx.replication.gateway import Gateway
from phalanx.replication.outcome import Outcome
from phalanx.replication.sessions import Fresh, Sessions, Verdict


def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resent commands run again."""
    begin = Sessions.begin

    def forgetful(table: Sessions, session: int, number: int, low: int) -> Outcome | Verdict | Fresh:
        known = begin(table, session, number, low)
        return known if isinstance(known, Verdict) else Fresh.FRESH

    monkeypatch.setattr(Sessions, "begin", forgetful)
    monkeypatch.setattr(Sessions, "record", lambda *_: None)


def without_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries are answered from what is there, without a barrier."""
    flush = Gateway.flush

    def hasty(gateway: Gateway, out: Output) -> list[Any]:
        requests = flush(gateway, out)
        for request in requests:
            if isinstance(request, Barrier):
                gateway.deliver(BarrierReached(request.group, request.token))
        return [request for request in requests if not isinstance(request, Barrier)] + flush(gateway, out)

    monkeypatch.setattr(Gateway, "flush", hasty)
