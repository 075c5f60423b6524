"""The files of TLS: what is wrong with them is said at once, and renewed ones are taken."""

import datetime
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from phalanx.api.tls import TLS
from phalanx.errors import ConfigurationError
from tests.certificates import CLIENT, DAY, HOST, SERVER, Authority, private_bytes

HOUR = datetime.timedelta(hours=1)


def with_files(tls: TLS, **changed: Path) -> TLS:
    files = {"certificate": tls.certificate, "key": tls.key, "authorities": tls.authorities}
    return TLS(**files | changed)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


FAULTS: dict[str, tuple[Callable[[Authority, Path], TLS], str]] = {
    "a missing file": (
        lambda a, d: with_files(a.node(), key=d / "gone.key"),
        r"gone\.key cannot be read: No such file",
    ),
    "a directory": (lambda a, d: with_files(a.node(), certificate=d), r"cannot be read: Is a directory"),
    "no PEM": (
        lambda a, d: with_files(a.node(), certificate=written(d / "der", b"\x30\x82")),
        r"der holds no certificate in PEM.*openssl x509 -inform DER -in",
    ),
    "a certificate for a key": (
        lambda a, _: with_files(a.node(), key=a.file),
        r"authority\.crt holds no key in PEM.*openssl pkey",
    ),
    "broken PEM": (
        lambda a, d: with_files(
            a.node(), authorities=written(d / "ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        ),
        r"the authorities .*ca cannot be used",
    ),
    "an encrypted key": (
        lambda a, d: with_files(
            a.node(), key=written(d / "locked.key", private_bytes(ec.generate_private_key(ec.SECP256R1()), b"secret"))
        ),
        r"locked\.key is encrypted.*openssl pkey -in .*locked\.key",
    ),
    "an encrypted key of the old kind": (
        lambda a, d: with_files(
            a.node(),
            key=written(
                d / "old.key",
                ec.generate_private_key(ec.SECP256R1()).private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.TraditionalOpenSSL,
                    serialization.BestAvailableEncryption(b"secret"),
                ),
            ),
        ),
        r"old\.key is encrypted",
    ),
    "the key of another": (
        lambda a, _: with_files(a.node(), key=Path(a.node("other").key)),
        r"other\.key is not that of the certificate .*node\.crt",
    ),
    "another authority's": (
        lambda a, d: with_files(a.node(), authorities=Authority(d, "another").file),
        r"node\.crt is not from an authority in .*another\.crt",
    ),
    "an expired one": (
        lambda a, _: a.issue("old", [HOST], ends=-HOUR),
        r"old\.crt has expired: renew it",
    ),
    "one not valid yet": (
        lambda a, _: a.issue("early", [HOST], begins=DAY),
        r"early\.crt is not valid yet: .*clock",
    ),
    "one for another host": (
        lambda a, _: a.issue("away", ["a.example"]),
        r"away\.crt does not name 127\.0\.0\.1.*subjectAltName has IP:127\.0\.0\.1",
    ),
    "a client's": (lambda a, _: a.client(), r"client\.crt"),
    "a client's with a host": (
        lambda a, _: a.issue("app", [HOST], usages=[CLIENT]),
        r"the extended key usage of the certificate .*app\.crt does not allow its role",
    ),
    "a server's that cannot dial": (
        lambda a, _: a.issue("mute", [HOST], usages=[SERVER]),
        r"the extended key usage of the certificate .*mute\.crt does not allow its role",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_node_is_told_which_file_is_wrong_and_what_to_do(case: str, tmp_path: Path) -> None:
    make, words = FAULTS[case]
    with pytest.raises(ConfigurationError, match=f"(?s)^TLS: .*{words}"):
        make(Authority(tmp_path), tmp_path).credentials(HOST)


def test_sound_files_are_taken_and_a_client_needs_no_host(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for tls in (authority.node(), authority.issue("plain", [HOST]), authority.issue("wild", ["*.example", HOST])):
        assert tls.credentials(HOST).expires_at > 0
    assert authority.client().credentials().expires_at > 0
    assert authority.issue("named", ["a.example"]).credentials("a.example").expires_at > 0


def test_a_certificate_signed_by_one_in_between_comes_with_it(tmp_path: Path) -> None:
    root = Authority(tmp_path, "root")
    between = Authority(tmp_path, "between", parent=root)
    alone = between.issue("alone", [HOST])
    with pytest.raises(ConfigurationError, match="certificates in between belong behind it"):
        with_files(alone, authorities=root.file).credentials(HOST)
    with_chain = between.issue("chained", [HOST], chain=between.pem)
    with_files(with_chain, authorities=root.file).credentials(HOST)


def test_a_client_is_told_of_what_nobody_would_take(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name, tls in {
        "has expired": authority.issue("old", ends=-HOUR),
        "not valid yet": authority.issue("early", begins=DAY),
        "does not allow its role": authority.issue("server", usages=[SERVER]),
    }.items():
        with pytest.raises(ConfigurationError, match=name):
            tls.credentials()


def test_a_client_may_be_of_another_authority_than_the_nodes(tmp_path: Path) -> None:
    mine = Authority(tmp_path, "mine").client()
    theirs = Authority(tmp_path, "theirs")
    assert with_files(mine, authorities=theirs.file).credentials().expires_at == 0  # only nodes can judge it


def test_renewed_files_are_taken_and_half_renewed_ones_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    credentials = authority.issue("node", [HOST], ends=30 * DAY).credentials(HOST)
    first = credentials.contexts()
    assert credentials.contexts() is first
    first_end = credentials.expires_at

    key = (tmp_path / "node.key").read_bytes()
    authority.issue("node", [HOST], ends=60 * DAY)
    new_key = (tmp_path / "node.key").read_bytes()
    (tmp_path / "node.key").write_bytes(key)  # the renewal is half way: the certificate is there, and not yet its key
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert credentials.contexts() is first
    assert [record.getMessage() for record in caplog.records if "not taken" in record.getMessage()] == [
        f"the renewed files of TLS are not taken, and the former stay in use: TLS: the key {tmp_path / 'node.key'} is "
        f"not that of the certificate {tmp_path / 'node.crt'} (the first one in it counts)"
    ]
    (tmp_path / "node.key").write_bytes(new_key)
    assert credentials.contexts() is not first
    assert credentials.expires_at > first_end


def test_a_file_that_is_gone_for_a_moment_changes_nothing(tmp_path: Path) -> None:
    credentials = Authority(tmp_path).node().credentials(HOST)
    first = credentials.contexts()
    (tmp_path / "node.crt").rename(tmp_path / "away")
    assert credentials.contexts() is first
    (tmp_path / "away").rename(tmp_path / "node.crt")
    assert credentials.contexts() is not first  # it may be another one, so it is read again


def test_a_link_that_leads_elsewhere_is_a_renewal(tmp_path: Path) -> None:
    """As Kubernetes mounts secrets: what is renewed is a link to a directory."""
    links = {}
    for life in ("one", "two"):
        (tmp_path / life).mkdir()
        Authority(tmp_path / life).issue("node", [HOST], ends=(10 if life == "one" else 20) * DAY)
    (tmp_path / "now").symlink_to(tmp_path / "one")
    for what, file in {"certificate": "node.crt", "key": "node.key", "authorities": "authority.crt"}.items():
        links[what] = tmp_path / "now" / file
    credentials = TLS(**links).credentials(HOST)
    first, end = credentials.contexts(), credentials.expires_at
    (tmp_path / "new").symlink_to(tmp_path / "two")
    os.replace(tmp_path / "new", tmp_path / "now")  # noqa: PTH105  of links, not of what they lead to
    assert credentials.contexts() is not first
    assert credentials.expires_at > end


@pytest.mark.parametrize("name", ["certificate", "key", "authorities"])
@pytest.mark.parametrize("given", [5, None, b"a.crt", ["a.crt"], "", "a\0b", "\ud800"])
def test_what_is_no_path_is_told_with_the_name_of_the_argument(name: str, given: Any) -> None:
    paths: dict[str, Any] = {"certificate": "a.crt", "key": Path("a.key"), "authorities": "ca.crt", name: given}
    error = ConfigurationError if isinstance(given, str) else TypeError
    with pytest.raises(error, match=f"TLS: {name} must be a file's path") as caught:
        TLS(**paths)
    assert repr(given) in str(caught.value)


def test_a_certificate_that_ends_soon_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    tls = authority.issue("node", [HOST], ends=2 * DAY)
    tls.credentials(HOST)  # as a command line does that tries them
    credentials = tls.credentials(HOST)
    for _ in range(3):
        credentials.contexts()
    warned = [record.getMessage() for record in caplog.records if "renew it" in record.getMessage()]
    assert len(warned) == 1
    assert str(tmp_path / "node.crt") in warned[0]
    authority.issue("node", [HOST], ends=3 * DAY)
    credentials.contexts()
    assert sum("renew it" in record.getMessage() for record in caplog.records) == 2
