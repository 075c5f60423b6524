"""Real signatures: Ed25519 (RFC 8032), whose signatures depend on nothing but key and message, so runs can be repeated.

Keys are made from names.  They keep nothing secret from whoever reads this; the explorer keeps to the rule that a traitor
signs with the keys of traitors only, and tries to pass off what such keys sign as another's.
"""

import functools
import hashlib

from phalanx.errors import ConfigurationError
from phalanx.model.view import Name

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    MISSING: ImportError | None = None
except ImportError as error:
    MISSING = error

KEPT = 65_536
"""Signatures that are remembered, made or checked: exploring meets the same few again and again."""


def require() -> None:
    """Raises ConfigurationError if the library that signs is not there."""
    if MISSING is not None:
        raise ConfigurationError(
            "signed messages need the library cryptography, which is not installed: pip install 'phalanx[lab]'"
        ) from MISSING


@functools.cache
def _key(name: Name) -> "Ed25519PrivateKey":
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"general {name}".encode()).digest())


@functools.lru_cache(KEPT)
def sign(name: Name, text: bytes) -> bytes:
    """The general's signature of the text."""
    return _key(name).sign(text)


@functools.lru_cache(KEPT)
def is_signed(name: Name, text: bytes, signature: bytes) -> bool:
    """Whether that is the general's signature of that text."""
    try:
        _key(name).public_key().verify(signature, text)
    except InvalidSignature:
        return False
    return True
