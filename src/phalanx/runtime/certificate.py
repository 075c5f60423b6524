"""What a certificate says about its owner: at which hosts it may serve.  Only of certificates that OpenSSL has verified.

Python's ssl module shows the names of a peer's certificate, and not its extended key usage (RFC 5280, section 4.2.1.12),
which is read here: a walk through the tags of DER (X.690) down to one extension.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Final

_EXTENDED_KEY_USAGE: Final = bytes.fromhex("551d25")  # 2.5.29.37
_SERVER_AUTH: Final = bytes.fromhex("2b06010505070301")  # 1.3.6.1.5.5.7.3.1
_ANY_USAGE: Final = bytes.fromhex("551d2500")  # 2.5.29.37.0

_SEQUENCE: Final = 0x30
_IDENTIFIER: Final = 0x06
_OCTETS: Final = 0x04
_EXTENSIONS: Final = 0xA3  # [3], the last part of what is signed


def names_in(certificate: Mapping[str, Any]) -> list[str]:
    """The hosts that `SSLObject.getpeercert` shows: names as they stand, addresses in their usual form."""
    found = []
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            found.append(value.lower())
        elif kind == "IP Address":
            found.append(str(ipaddress.ip_address(value.strip())))
    return found


def host_in(host: str, names: list[str]) -> bool:
    """Whether the names have that host.  A `*` stands for one whole first label (RFC 6125, section 6.4.3)."""
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        pass
    host = host.lower().removesuffix(".")
    _, dot, parent = host.partition(".")
    return host in names or (bool(dot) and f"*.{parent}" in names)


def may_serve(encoded: bytes) -> bool:
    """Whether the certificate, in DER, may be a server's: its extended key usage has serverAuth, or it has none."""
    usages = _usages(encoded)
    return usages is None or _SERVER_AUTH in usages or _ANY_USAGE in usages


def _usages(encoded: bytes) -> list[bytes] | None:
    """The extended key usages; None if any will do.  Raises ValueError if that is no certificate."""
    signed = _part(_part(encoded, _SEQUENCE), _SEQUENCE)
    for extension in _parts(_part(_part(signed, _EXTENSIONS, b""), _SEQUENCE, b"")):
        fields = list(_parts(extension[1]))
        if fields and fields[0] == (_IDENTIFIER, _EXTENDED_KEY_USAGE):
            return [value for _, value in _parts(_part(fields[-1][1], _SEQUENCE))]
    return None


def _part(data: bytes, tag: int, default: bytes | None = None) -> bytes:
    """The content of the first part with that tag."""
    for found, content in _parts(data):
        if found == tag:
            return content
    if default is None:
        raise ValueError("no certificate in DER")
    return default


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each part, in order."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("DER that ends inside a header")
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            more = size & 0x7F
            if not 1 <= more <= 4 or at + more > len(data):
                raise ValueError("DER with a length that is none")
            size = int.from_bytes(data[at : at + more], "big")
            at += more
        if at + size > len(data):
            raise ValueError("DER that ends inside a part")
        yield tag, data[at : at + size]
        at += size
