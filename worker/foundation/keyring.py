"""Encrypts personal fields and tokens at rest: AES-256-GCM, with keys that can rotate.

A encrypted value is  version (1 byte) | key id (4) | nonce (12) | ciphertext and tag.  It is bound to the row it
belongs to by its context, so that a value copied into another row does not open there.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D's recommended length; random, so a key must seal fewer than 2**32 values


class CannotDecrypt(Exception):
    """A encrypted value that no key of the ring opens: a key was taken out too early, or the row was tampered with."""


def new_key() -> str:
    """A fresh key as it stands in the environment or a file: URL-safe base64 of 32 random bytes."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("an encryption key is 32 bytes in URL-safe base64; `onboard keys new` prints one")
    return key


class Keyring:
    """The first key encrypts, all of them decrypt."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises ValueError, without a value in it, when a key is malformed or there is none."""
        if not keys:
            raise ValueError("no encryption key; `onboard keys new` prints one")
        self._ciphers = {}
        self._digest_keys = []
        ids = []
        for key in map(_key_bytes, keys):
            ids.append(hashlib.sha256(b"onboarding key id" + key).digest()[:4])
            self._ciphers[ids[-1]] = AESGCM(key)
            # A key of its own for each use: what one of them gives away says nothing about the others.
            self._digest_keys.append(hmac.digest(key, b"onboarding digests", "sha256"))
        self._current = ids[0]
        self.digest_ids = tuple(each.hex() for each in ids)
        """Which key makes each of `digests`, in the same order; 8 hex digits that say nothing of the key."""

    def digests(self, text: str) -> tuple[str, ...]:
        """Keyed hashes of a text, in hex, one by each key: to know it again without keeping it.

        Keep the first, and compare what is kept with all: a key that is taken out later makes it unknown.
        """
        return tuple(hmac.digest(key, text.encode(), "sha256").hex() for key in self._digest_keys)

    def encrypt(self, value: dict[str, Any], *, context: str) -> bytes:
        """Encrypt a JSON object for the row that `context` names."""
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        nonce = secrets.token_bytes(NONCE_BYTES)
        return VERSION + self._current + nonce + self._ciphers[self._current].encrypt(nonce, plain, context.encode())

    def decrypt(self, encrypted: bytes, *, context: str) -> dict[str, Any]:
        """The object that was encrypted for this context. Raises CannotOpen, which names the context alone."""
        cipher = self._ciphers.get(encrypted[1:5]) if encrypted[:1] == VERSION else None
        if cipher is None:
            raise CannotDecrypt(f"no key of the ring opens {context}: is an older key missing from [encryption] keys?")
        try:
            plain = cipher.decrypt(encrypted[5 : 5 + NONCE_BYTES], encrypted[5 + NONCE_BYTES :], context.encode())
        except (InvalidTag, ValueError):  # a value cut off within its nonce is a ValueError
            raise CannotDecrypt(f"the encrypted value of {context} was changed or belongs to another row") from None
        value: dict[str, Any] = json.loads(plain)
        return value
