"""Ed25519: a key that signs, and what checks a signature. The private key is 32 bytes in URL-safe base64."""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES = 64
KEY_ID_DIGITS = 16
LARGEST_PEM = 4096


class VerifyingKey:
    """The public half of a key."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def id(self) -> str:
        """16 digits by which people tell keys apart."""
        raw = self._key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return hashlib.sha256(raw).hexdigest()[:KEY_ID_DIGITS]

    def has_signed(self, signature: bytes, content: bytes) -> bool:
        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """The private half. Shown by no repr."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, without any of the key in its text."""
        try:
            seed = base64.urlsafe_b64decode(text)
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) != 32:
            raise ValueError(
                "a signing key is 32 bytes in URL-safe base64; `onboard keys new --for evidence` prints one"
            )
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public(self) -> VerifyingKey:
        return VerifyingKey(self._key.public_key())

    def sign(self, content: bytes) -> bytes:
        """The same for the same content, always."""
        return self._key.sign(content)


def read_public_key(pem: bytes) -> VerifyingKey:
    """The key in a PEM file. Raises ValueError for anything but an Ed25519 public key."""
    try:
        found = serialization.load_pem_public_key(pem) if len(pem) <= LARGEST_PEM else None
    except Exception:  # the library raises many kinds, for bytes that a stranger wrote
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise ValueError("expected an Ed25519 public key in PEM")
    return VerifyingKey(found)
