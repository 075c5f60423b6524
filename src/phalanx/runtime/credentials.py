"""What a process shows others to be let in, and what it asks of them: three files, and the contexts of TLS made of them.

Both ends of a connection show a certificate, and each checks the other's: that one of its authorities has signed it, that
it is valid now, and that it is meant for that end's role (RFC 5280, sections 4.2.1.12 and 6.1).  Whoever dials checks
that the certificate names the host that was dialled (RFC 6125); `fault_of_member` does so for who is dialled.

The files are looked at when a connection is made, and at a node once an hour, for connections may stand until long after
the certificate has ended: what was renewed on disk is taken for new connections.  Files that make no sense together, as
in the middle of a renewal, are told of in the log, and the last that did stay in use.

A set of files is rehearsed before it is used: a server and a client of them shake hands in memory, so OpenSSL itself says
what others would say, before anybody is turned away.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import ssl
import time
from pathlib import Path
from typing import Any, Final

from phalanx.errors import ConfigurationError
from phalanx.runtime.certificate import host_in, may_serve, names_in
from phalanx.runtime.refusals import EARLY, EXPIRED, ROLE, WRONG_NAME, plain, refusal_of

log = logging.getLogger(__name__)

VERSION_LEAST: Final = ssl.TLSVersion.TLSv1_3
"""Both ends are ours, and every Python that runs us has it.  It has one round trip less than 1.2, and no weak choices."""

NO_HOST: Final = "no host, so it is a client's"

EXPIRY_S: Final = 7 * 86_400
"""A certificate that ends sooner is told of in the log: renewals are due well before, and people look once a week."""

_TOLD: Final[dict[Path, float]] = {}
"""When the certificate ends that was told of last, by its file: one process may take it more than once."""

LOOK_S: Final = 3_600.0
"""From one look of a node at its files to the next, if no connection is made: a small part of what is left then."""

_UNFIT: Final = {
    EXPIRED: "{} has expired: renew it",
    EARLY: "{} is not valid yet: see when it begins, and this machine's clock",
    ROLE: "the extended key usage of {} does not allow its role",
}
"""What is wrong with a certificate itself, whoever signed it."""


class Contexts:
    """Both sides of TLS as one set of files has it."""

    def __init__(self, certificate: Path, key: Path, authorities: Path) -> None:
        for path in (certificate, key, authorities):
            _check_pem(path, "PRIVATE KEY" if path == key else "CERTIFICATE")
        self.server = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, authorities)
        self.server.verify_mode = ssl.CERT_REQUIRED
        self.server.num_tickets = 0  # sessions are not resumed: connections last
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, authorities)


class Credentials:
    """The contexts of these files, and those of the files that replace them."""

    def __init__(self, certificate: Path, key: Path, authorities: Path, *, host: str = "") -> None:
        """host: where this node listens, which its certificate must name; empty for a client.

        Raises `ConfigurationError`, which says which file it is, and what to do.
        """
        self._paths = (certificate, key, authorities)
        self._host = host
        self._tried = self._look()
        """What the files were when they were last read, whether they were taken or not."""
        self.expires_at = 0.0
        """Seconds since the epoch when the certificate ends; 0: not known, as only others can judge it."""
        self._contexts = self._load()
        self._looking: asyncio.TimerHandle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the files now, and again and again until `unwatch`, whether connections are made or not."""
        self.contexts()
        self._looking = loop.call_later(LOOK_S, self.watch, loop)

    def unwatch(self) -> None:
        """Of what `watch` has begun."""
        if self._looking is not None:
            self._looking.cancel()

    def contexts(self) -> Contexts:
        """For a connection that begins now."""
        found = self._look()
        if found != self._tried:
            self._tried = found
            try:
                self._contexts = self._load()
            except ConfigurationError as error:
                log.warning("the renewed files of TLS are not taken, and the former stay in use: %s", error)
            else:
                log.info("the renewed certificate %s is taken for new connections", self._paths[0])
        self._warn_of_expiry()
        return self._contexts

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes with a file's content: links are followed, so it also changes with where they lead."""
        found: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                state = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        return tuple(found)

    def _load(self) -> Contexts:
        contexts = Contexts(*self._paths)
        certificate = self._rehearse_node(contexts) if self._host else self._rehearse_client(contexts)
        self.expires_at = ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else 0.0
        return contexts

    def _rehearse_node(self, contexts: Contexts) -> dict[str, Any]:
        """What another node of the same files would say to this one, dialling and being dialled."""
        certificate, _, authorities = self._paths
        try:
            side, _ = rehearse(contexts.server, contexts.client, self._host)
        except ssl.SSLCertVerificationError as error:
            if refusal_of(error).kind == WRONG_NAME:
                raise ConfigurationError(
                    f"TLS: the certificate {certificate} does not name {self._host}, where this node listens, so others "
                    f"would not take it for a member's: make one whose subjectAltName has {_san(self._host)}"
                ) from None
            raise ConfigurationError(_verdict(certificate, authorities, error)) from None
        except ssl.SSLError as error:
            raise ConfigurationError(f"TLS: {certificate} cannot be used: {plain(error)}") from None
        shown = side.getpeercert() or {}
        fault = fault_of_member(side, self._host)
        if fault:
            raise ConfigurationError(f"TLS: the certificate {certificate} cannot be a member's: {fault}")
        return dict(shown)

    def _rehearse_client(self, contexts: Contexts) -> dict[str, Any]:
        """What a node would say to this client.  Nodes may know its authority where the client does not have to."""
        certificate, _, authorities = self._paths
        trusting = _context(ssl.PROTOCOL_TLS_CLIENT, certificate, self._paths[1], authorities)
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        try:
            _, side = rehearse(contexts.server, trusting, "")
        except ssl.SSLCertVerificationError as error:
            if refusal_of(error).kind in _UNFIT:
                raise ConfigurationError(_verdict(certificate, authorities, error)) from None
            return {}
        except ssl.SSLError as error:
            raise ConfigurationError(f"TLS: {certificate} cannot be used: {plain(error)}") from None
        return dict(side.getpeercert() or {})

    def _warn_of_expiry(self) -> None:
        """Once for each certificate."""
        if not self.expires_at or _TOLD.get(self._paths[0]) == self.expires_at:
            return
        left = self.expires_at - time.time()
        if left < EXPIRY_S:
            _TOLD[self._paths[0]] = self.expires_at
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.expires_at))
            log.warning("the certificate %s ends at %s: renew it; no restart is needed", self._paths[0], when)


def rehearse(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Have a server and a client shake hands in memory, and return the client's and the server's end.  Raises
    ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=host or None)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (one, other, one, other):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return one, other


def fault_of_member(side: ssl.SSLObject, host: str) -> str:
    """Why the certificate at the other end cannot be that of a member at that host; empty if it can.

    OpenSSL has verified it; but for who is dialled, as one of a client, which may come from anywhere.
    """
    shown = side.getpeercert() or {}
    encoded = side.getpeercert(True) or b""
    names = names_in(shown)
    if not host_in(host, names):
        return f"it names {', '.join(names) or NO_HOST}, not {host}"
    try:
        serves = may_serve(encoded)
    except ValueError as error:
        return f"it cannot be read: {error}"
    if not serves:
        return "its extended key usage is that of a client: a member's has serverAuth and clientAuth, or none"
    return ""


# --- what files are, and what is wrong with them ----------------------------------------------------------------------


def _san(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _check_pem(path: Path, what: str) -> None:
    """That the file can be read and holds something of that kind, in PEM."""
    name = "key" if what == "PRIVATE KEY" else "certificate"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"TLS: {path} cannot be read: {os.strerror(error.errno or 0)}") from None
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in content or b"Proc-Type: 4,ENCRYPTED" in content:
        raise ConfigurationError(
            f"TLS: the key {path} is encrypted, and there is nobody to be asked for its pass phrase; "
            f"`openssl pkey -in {path} -out KEY` writes it without, for a file that only this user can read"
        )
    if f"{what}-----".encode() not in content or b"-----BEGIN " not in content:
        raise ConfigurationError(
            f"TLS: {path} holds no {name} in PEM, which begins with -----BEGIN {what}-----; "
            f"`openssl {'pkey' if name == 'key' else 'x509'} -inform DER -in {path} -out FILE` makes one of DER"
        )


def _context(side: int, certificate: Path, key: Path, authorities: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = VERSION_LEAST
    try:
        context.load_verify_locations(authorities)
    except OSError as error:
        raise ConfigurationError(f"TLS: the authorities {authorities} cannot be used: {plain(error)}") from None
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # never ask at a terminal
    except OSError as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                f"TLS: the key {key} is not that of the certificate {certificate} (the first one in it counts)"
            ) from None
        raise ConfigurationError(f"TLS: {certificate} with {key} cannot be used: {plain(error)}") from None
    return context


def _verdict(certificate: Path, authorities: Path, error: ssl.SSLCertVerificationError) -> str:
    if unfit := _UNFIT.get(refusal_of(error).kind):
        return f"TLS: {unfit.format(f'the certificate {certificate}')}"
    return (
        f"TLS: the certificate {certificate} is not from an authority in {authorities} ({error.verify_message}); "
        "certificates in between belong behind it, into its file"
    )
