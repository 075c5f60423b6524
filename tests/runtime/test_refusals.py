"""Refusals are counted one by one, and told of now and then."""

import errno
import ssl
from types import SimpleNamespace

import pytest

from phalanx.runtime import refusals
from phalanx.runtime.refusals import ENDED, LATE, Refusal, Refusals, plain, refusal_of


class Told(list[tuple[str, str]]):
    """What the log was given."""

    def __call__(self, who: str, why: str) -> None:
        self.append((who, why))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its one item is the time, in seconds."""
    now = [1000.0]
    monkeypatch.setattr("phalanx.runtime.refusals.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize("begins", [b"\x00\x00\x00\x10", b"\x16\x03\x01\xff\xff"])
def test_what_happens_to_resemble_a_record_of_tls_is_told_of_as_all_that_is_none(begins: bytes) -> None:
    """Bytes that are no TLS, and a record longer than there are any."""
    came = ssl.MemoryBIO()
    came.write(begins.ljust(100, b"y"))
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(came, ssl.MemoryBIO(), server_side=True)
    with pytest.raises(ssl.SSLError) as failed:
        side.do_handshake()
    if failed.value.reason == "RECORD_LAYER_FAILURE":  # what OpenSSL 3.6 says of the second, and of much else
        assert refusal_of(failed.value) == Refusal("handshake.other", "its TLS handshake fails: record layer failure")
    else:
        assert refusal_of(failed.value) == Refusal("handshake.plain", "it does not speak TLS")


def test_what_the_system_says_of_a_handshake_that_broke_is_told() -> None:
    timed_out = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    assert refusal_of(timed_out) == Refusal(
        "handshake.ended", "the connection broke in the TLS handshake: connection timed out"
    )
    assert refusal_of(ConnectionResetError(errno.ECONNRESET, "reset")) == ENDED
    assert plain(OSError("a.example cannot be in a certificate")) == "a.example cannot be in a certificate"


def test_a_refusal_that_goes_on_is_told_of_once_in_ten_minutes_with_how_many_there_were(clock: list[float]) -> None:
    told = Told()
    count = Refusals(told)
    for _ in range(100):
        count("a", LATE)
        clock[0] += 5.9
    assert told == [("a", LATE.text)]
    clock[0] += 20
    count("a", LATE)
    assert told[1:] == [("a", f"{LATE.text} (100 more like this since)")]
    assert count.counts == {LATE.kind: 101}


def test_each_other_end_and_each_kind_is_told_of(clock: list[float]) -> None:
    assert clock == [1000.0]
    told = Told()
    count = Refusals(told)
    for who, why in (("a", LATE), ("a", ENDED), ("b", LATE), ("a", LATE)):
        count(who, why)
    assert told == [("a", LATE.text), ("a", ENDED.text), ("b", LATE.text)]


def test_what_is_remembered_is_bounded_and_so_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "TOLD_MAX", 3)
    told = Told()
    count = Refusals(told)
    for number in range(10):
        count(f"n:{number}", Refusal("certificate.name", "x" * 1000), dialled=True)
    count("n:9", Refusal("certificate.name", "again"))
    count("n:0", Refusal("certificate.name", "forgotten, so told again"))
    assert [who for who, _ in told] == [*(f"n:{number}" for number in range(10)), "n:0"]
    assert max(len(why) for _, why in told) == refusals.TEXT_MAX
    assert count.explain({}).count("n:") == 3


def test_an_address_that_is_reached_is_explained_no_more() -> None:
    count = Refusals(Told())
    count("a:1", ENDED, dialled=True)
    count("b:1", ENDED)
    assert count.explain({}) == f"a:1: {ENDED.text}"
    count.forget("a:1")
    assert count.explain({}) == ""
