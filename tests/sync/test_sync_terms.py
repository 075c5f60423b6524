"""Terms for threads: a loss is told, and the next turn has another term."""

import threading
from typing import assert_type

import pytest

from phalanx import sync
from phalanx.errors import Fenced, LeaseLost
from phalanx.sync import recipes
from tests.sync.test_sync import cluster, store, wait_for_loss

__all__ = ["cluster", "store"]  # fixtures


def test_what_was_lost_is_taken_again_however_the_block_learns_of_it(store: sync.Store) -> None:
    tokens: list[int] = []
    away: list[str] = []
    for term in recipes.lead(store, b"primary", b"me").terms():
        with term as held:
            tokens.append(assert_type(held, recipes.Held).token)
            away.append(type(term.after).__name__)
            if len(tokens) < 4:
                store.revoke(held.lease.id)
            if len(tokens) == 1:
                held.put(b"state", b"too late")
            elif len(tokens) == 2:
                wait_for_loss(held)
                held.check()
            elif len(tokens) == 3:
                wait_for_loss(held)
    assert tokens == sorted(set(tokens)) and len(tokens) == 4
    assert away[0] == "NoneType" and set(away[1:]) <= {"LeaseLost", "Fenced"}
    assert store.leases() == []


def test_other_errors_leave_the_loop_also_those_of_another_holder(store: sync.Store) -> None:
    with pytest.raises(ValueError, match="of the block"):
        for registration in recipes.membership(store, b"workers", b"me").terms():
            with registration as place:
                store.revoke(place.lease.id)
                wait_for_loss(place)
                raise ValueError("of the block")
    with pytest.raises(Fenced):
        for term in recipes.lock(store, b"door").terms():
            with term, recipes.lock(store, b"other", cancels=False) as other:
                store.revoke(other.lease.id)
                other.put(b"state", b"too late")
    with pytest.raises(LeaseLost):
        for term in recipes.lock(store, b"door").terms():
            with term:
                raise LeaseLost("of something else")
    with pytest.raises(RuntimeError, match="each turn needs"):
        for _ in recipes.lock(store, b"door").terms():
            pass


def test_shares_and_threads_end_with_their_terms(store: sync.Store) -> None:
    before = threading.active_count()
    count = 0
    for term in recipes.partition(store, b"shards", b"me", [b"s1"]).terms():
        with term as shares:
            owned = next(shares)
            count += 1
            if count == 1:
                store.revoke(owned[b"s1"].lease.id)
                wait_for_loss(owned[b"s1"])
    assert count == 2 and threading.active_count() == before
