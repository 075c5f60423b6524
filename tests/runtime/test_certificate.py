"""What a verified certificate says: held against certificates that a library has made."""

import random
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from phalanx.runtime.certificate import host_in, may_serve, names_in
from tests.certificates import CLIENT, SERVER, Authority

SHOWN = {"subjectAltName": (("DNS", "A.example"), ("DNS", "*.nodes.example"), ("IP Address", "0:0:0:0:0:0:0:1"))}


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("a.example", True),
        ("A.EXAMPLE.", True),
        ("b.example", False),
        ("one.nodes.example", True),
        ("nodes.example", False),
        ("one.two.nodes.example", False),
        ("::1", True),
        ("0:0::1", True),
        ("127.0.0.1", False),
        ("", False),
        ("example", False),
    ],
)
def test_a_host_is_one_of_the_names_of_a_certificate(host: str, named: bool) -> None:
    """RFC 6125, section 6.4; a wildcard is one whole label, and addresses are compared as such."""
    assert host_in(host, names_in(SHOWN)) is named


def test_a_certificate_without_names_names_no_host() -> None:
    assert names_in({}) == []
    assert not host_in("a.example", names_in({"subject": ((("commonName", "a.example"),),)}))


@pytest.mark.parametrize(
    ("usages", "serves"),
    [
        ([], True),
        ([SERVER], True),
        ([CLIENT, SERVER], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([CLIENT], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING, CLIENT], False),
    ],
)
def test_a_certificate_is_a_servers_by_its_extended_key_usage(
    tmp_path: Path, usages: list[x509.ObjectIdentifier], serves: bool
) -> None:
    authority = Authority(tmp_path)
    for hosts in ([], ["a.example", "x" * 60 + ".example", "127.0.0.1"]):
        authority.issue("it", hosts, usages=usages)
        assert may_serve(authority.encoded) is serves


def test_what_is_no_certificate_is_told_apart_and_ends(tmp_path: Path) -> None:
    """Only verified ones get here; still, no bytes make it loop or fail in another way."""
    authority = Authority(tmp_path)
    authority.issue("it", ["a.example"], usages=[CLIENT])
    whole = authority.encoded
    rng = random.Random(42)
    refused = 0
    for turn in range(3000):
        data = bytearray(whole[: rng.randrange(len(whole))] if turn % 2 else whole)
        for _ in range(rng.randrange(1, 5) if data else 0):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            may_serve(bytes(data))
        except ValueError:
            refused += 1
    assert refused > 1000
