"""Who was not talked to for want of TLS or of the right certificate, at either end, and what was dialled and is no node:
counted, and told of once.

A process with a wrong certificate goes on dialling, for it may be renewed, and so does one with a wrong address; so each
end counts every refusal, and writes a line in the log when one is new, and every ten minutes while it goes on.
"""

import errno
import logging
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from phalanx.model.view import Address

log = logging.getLogger(__name__)

TOLD_AGAIN_S = 600.0
"""A refusal that goes on is in the log so often."""

TOLD_MAX = 256
"""Refusals remembered as told, of more the oldest is told again; and addresses of which it is known why they refuse."""

TEXT_MAX: Final = 300
"""Characters of what the log and errors say: names in a certificate are chosen by others."""


class Refusal(NamedTuple):
    """Why a connection did not come about.

    kind: for counting: what is wrong with the other's `certificate.*`, or with its `handshake.*`; or the `alert.*` by
    which the other side refused this one.
    """

    kind: str
    text: str


CROWDED = Refusal("handshake.crowded", "too many TLS handshakes at once, and this was the oldest")
LATE = Refusal("handshake.late", "no TLS handshake in time")
LONG = Refusal("handshake.long", "its TLS handshake is too long")
PLAIN = Refusal("handshake.plain", "it does not speak TLS")
TLS_UNWANTED = Refusal("handshake.tls", "it speaks TLS, and this side was started without")
ENDED = Refusal("handshake.ended", "it ended the connection in the TLS handshake")
UNANSWERED = Refusal("handshake.ended", "it ended the connection without an answer to the TLS handshake")

SILENT = Refusal("handshake.silent", "it takes connections, and does not say in time who it is")

CLEAR_ALERT: Final = bytes.fromhex("15 0303 0002 02 0a")
"""What a side without TLS says to a hello: unexpected_message (RFC 8446, section 6.2).  Nobody with TLS does."""

EXPIRED: Final = "certificate.expired"
EARLY: Final = "certificate.early"
ROLE: Final = "certificate.role"
WRONG_NAME: Final = "certificate.name"

_AUTHORITY: Final = "certificate.authority"

_ALERTS: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("required", "it asks for a certificate, and this side showed none"),
    "TLSV1_ALERT_UNKNOWN_CA": ("authority", "it does not know the authority of this side's certificate"),
    "TLSV1_ALERT_DECRYPT_ERROR": (
        "authority",
        "it does not take the signature of this side's certificate: is it of another authority of the same name?",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("expired", "it says that this side's certificate has expired"),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": ("revoked", "it says that this side's certificate was revoked"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("role", "it says that this side's certificate is not for its role"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("certificate", "it refuses this side's certificate; its log says why"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("certificate", "it refuses this side's certificate; its log says why"),
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": ("plain", "it was started without TLS, and this side with it"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("version", "it speaks no version of TLS that this side does, 1.3 or later"),
}
"""By OpenSSL's names; RFC 8446, section 6.2."""

_FAULTS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("certificate.none", "it showed no certificate"),
    "UNSUPPORTED_PROTOCOL": ("handshake.version", "it speaks no version of TLS that this side does, 1.3 or later"),
    "WRONG_VERSION_NUMBER": PLAIN,
    "PACKET_LENGTH_TOO_LONG": PLAIN,  # so it looks if its bytes happen to resemble a record of TLS
    "NO_SHARED_CIPHER": ("handshake.cipher", "it has no cipher in common with this side"),
}

_VERDICTS: Final = {
    7: _AUTHORITY,
    9: EARLY,
    10: EXPIRED,
    18: _AUTHORITY,
    19: _AUTHORITY,
    20: _AUTHORITY,
    21: _AUTHORITY,
    26: ROLE,
    62: WRONG_NAME,
    64: WRONG_NAME,
}
"""By X509_V_ERR_... of openssl/x509_vfy.h."""


def refusal_of(error: Exception) -> Refusal:
    """What a failed handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = _VERDICTS.get(error.verify_code, "certificate.other")
        return Refusal(kind, f"its certificate is refused: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        if error.reason in _FAULTS:
            return Refusal(*_FAULTS[error.reason])
        if "ALERT" in (error.reason or ""):
            return alert_of(error)
        return Refusal("handshake.other", f"its TLS handshake fails: {plain(error)}")
    if isinstance(error, OSError) and error.errno not in (None, errno.ECONNRESET, errno.EPIPE):
        return Refusal(ENDED.kind, f"the connection broke in the TLS handshake: {plain(error)}")
    return ENDED


def foreign(error: Exception) -> Refusal:
    """Who was dialled answers with something else than a greeting of this version."""
    return Refusal("handshake.foreign", f"it does not talk as this side does: {error}")


def alert_of(error: ssl.SSLError) -> Refusal:
    """What the other side's alert means; or what is wrong with what it sent after its handshake."""
    if error.reason in _ALERTS:
        kind, text = _ALERTS[error.reason]
        return Refusal(f"alert.{kind}", text)
    return Refusal("alert.other", f"TLS ended: {plain(error)}")


def begins_tls(data: bytes) -> bool:
    """Whether these are the first bytes of a handshake or an alert of TLS (RFC 8446, section 5.1)."""
    return data[:2] in (b"\x16\x03", b"\x15\x03")


def plain(error: OSError) -> str:
    """What OpenSSL or the system says, in words."""
    reason = error.reason if isinstance(error, ssl.SSLError) else os.strerror(error.errno) if error.errno else ""
    return (reason or str(error)).replace("_", " ").lower()


class Refusals:
    """Of one transport."""

    def __init__(self, log_line: Callable[[str, str], None]) -> None:
        """log_line: takes who it was and why; it may leave lines out, if there are many in a second."""
        self.counts: Counter[str] = Counter()
        """So many of each kind since the beginning."""
        self._log_line = log_line
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """When it was told of, and how many there had been of that kind."""
        self._dialled: dict[Address, str] = {}
        """Of the addresses that were dialled in vain, why."""

    def __call__(self, who: str, refusal: Refusal, *, dialled: bool = False) -> None:
        """There was one more."""
        kind, text = refusal[0], refusal.text[:TEXT_MAX]
        self.counts[kind] += 1
        if dialled:
            if len(self._dialled) >= TOLD_MAX:
                del self._dialled[next(iter(self._dialled))]
            self._dialled[who] = text
        now = time.monotonic()
        key = (who, kind)
        at, count = self._told.get(key, (0.0, 0))
        if count and now - at < TOLD_AGAIN_S:
            return
        self._told.pop(key, None)
        if len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[key] = (now, self.counts[kind])
        more = self.counts[kind] - count
        self._log_line(who, f"{text} ({more} more like this since)" if count and more > 1 else text)

    def forget(self, address: Address) -> None:
        """That address is spoken to after all, or not for another reason."""
        self._dialled.pop(address, None)

    def explain(self, faults: Mapping[Address, str]) -> str:
        """Why addresses cannot be spoken to, for whoever waits for an answer; empty if there is nothing to say.
        `faults`: why some could not be reached at all."""
        return "; ".join(f"{address}: {text}" for address, text in {**faults, **self._dialled}.items())
