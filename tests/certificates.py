"""Authorities and certificates for tests, made with the library `cryptography`."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from phalanx.api.tls import TLS

HOST = "127.0.0.1"
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
DAY = datetime.timedelta(days=1)


class Authority:
    """One that signs whatever it is asked to, and writes it into a directory."""

    def __init__(self, directory: Path, name: str = "authority", parent: "Authority | None" = None) -> None:
        self.directory = directory
        self.name = _named(name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        signed = _signed(self.name, self.key, parent or self, [], 3650 * DAY, -DAY, authority=True)
        self.pem = signed.public_bytes(serialization.Encoding.PEM)
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(self.pem)

    def issue(
        self,
        name: str,
        hosts: Sequence[str] = (),
        *,
        usages: Sequence[x509.ObjectIdentifier] = (),
        ends: datetime.timedelta = 90 * DAY,
        begins: datetime.timedelta = -DAY,
        chain: bytes = b"",
    ) -> TLS:
        """A certificate for these hosts, valid as long from now on, and its key, written to files of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[x509.ExtensionType] = []
        if hosts:
            extensions.append(x509.SubjectAlternativeName([_general(host) for host in hosts]))
        if usages:
            extensions.append(x509.ExtendedKeyUsage(usages))
        signed = _signed(_named(name), key, self, extensions, ends, begins)
        self.encoded = signed.public_bytes(serialization.Encoding.DER)
        certificate, private = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        _replace(certificate, signed.public_bytes(serialization.Encoding.PEM) + chain)
        _replace(private, private_bytes(key))
        return TLS(certificate=certificate, key=private, authorities=self.file)

    def node(self, name: str = "node") -> TLS:
        """Of a member on this machine."""
        return self.issue(name, [HOST, "localhost"], usages=[SERVER, CLIENT])

    def client(self, name: str = "client") -> TLS:
        """Of a client."""
        return self.issue(name, usages=[CLIENT])


def private_bytes(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    """The key in PEM."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _replace(path: Path, content: bytes) -> None:
    """As tools that renew certificates do: the file is another one, whole at any time."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: Authority,
    extensions: Sequence[x509.ExtensionType],
    ends: datetime.timedelta,
    begins: datetime.timedelta,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(by.key, hashes.SHA256())
