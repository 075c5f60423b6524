"""What a program says to have its connections encrypted, and both their ends known."""

from dataclasses import dataclass
from os import PathLike, fsencode, fspath
from pathlib import Path
from typing import Any

from phalanx.errors import ConfigurationError
from phalanx.runtime.credentials import Credentials
from phalanx.runtime.transport import is_everywhere


@dataclass(frozen=True, kw_only=True)
class TLS:
    """Connections under TLS 1.3, on which both ends show a certificate.  For `join`, `connect` and what connects.

        tls = phalanx.TLS(certificate="a.crt", key="a.key", authorities="ca.crt")

    certificate: a file of this process's certificate, and of those between it and the authority, if there are any.
    key: a file of its private key, not encrypted.  authorities: a file of the authorities whose certificates are taken.
    All in PEM.

    Whoever has a certificate of an authority may be a client, and so read and write everything; nobody else comes
    further than the handshake.  A *member* of the cluster is, besides, at the host that it says it is at: its
    certificate names that (subjectAltName, a DNS name or an IP address), and its extended key usage, if it has one, has
    serverAuth and clientAuth.  So one that names no host, or is for clientAuth only, makes nobody a member.  Both who
    dials and who is dialled check that; node names and ports are not in certificates.

    The files are looked at whenever a connection is made, and renewed ones are taken from then on; connections that
    stand go on.  If the new files make no sense, the former stay in use, and the log says why.

    What uses it raises `ConfigurationError` at the beginning if a file cannot be used, with its name, what is wrong with
    it, and what to do: one that is missing, is not in PEM, does not belong to the others, or has expired.
    """

    certificate: Path | str
    key: Path | str
    authorities: Path | str

    def __post_init__(self) -> None:
        """Raises `TypeError`, and `ConfigurationError` for what no file can be called."""
        for name in ("certificate", "key", "authorities"):
            given = getattr(self, name)
            path = fspath(given) if isinstance(given, str | PathLike) else None
            if not isinstance(path, str):
                raise TypeError(f"TLS: {name} must be a file's path, a str or a Path, not {given!r}")
            if not _names_a_file(path):
                raise ConfigurationError(f"TLS: {name} must be a file's path, not {given!r}")

    def credentials(self, host: str = "") -> Credentials:
        """The files, read and checked; `host`: where others reach this process, empty for a client.  For Phalanx itself.
        Raises `ConfigurationError`."""
        host = host.removeprefix("[").removesuffix("]")
        named = "" if is_everywhere(host) else host  # where nobody can be dialled: `join` refuses it
        return Credentials(Path(self.certificate), Path(self.key), Path(self.authorities), host=named)


def _names_a_file(path: str) -> bool:
    try:
        return bool(path) and b"\0" not in fsencode(path)
    except UnicodeEncodeError:
        return False


def tls_of(tls: Any) -> TLS | None:
    """The TLS, if there is one.  Raises `TypeError` for anything else."""
    if tls is not None and not isinstance(tls, TLS):
        raise TypeError(f"tls is a phalanx.TLS, not {tls!r}")
    return tls


def credentials_of(tls: TLS | None, host: str = "") -> Credentials | None:
    """As `TLS.credentials`, if there is one.  Raises as `tls_of`, too."""
    given = tls_of(tls)
    return None if given is None else given.credentials(host)
