"""Encrypts personal fields and tokens before they are stored: AES-256-GCM, with keys that can rotate.

An encrypted value is  version (1 byte) | key id (4) | nonce (12) | ciphertext and tag.  Its context binds it to its
row: a value copied into another row cannot be decrypted there.

A digest is  key id (8 hex digits) | the first 56 hex digits of an HMAC-SHA256.  So the key that a value or a digest
needs can be read from it without any key.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.foundation.features import hint

# `cryptography` is imported where it is used: with its OpenSSL it takes 7 MB of a command that decrypts nothing.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
PRINTED = hint("keys", "; `onboard keys new` prints one")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
KEY_ID_BYTES = 5  # of a value: its version and the id
KEY_ID_DIGITS, DIGEST_DIGITS = 8, 56
# In the text of a CannotDecrypt: the key's id follows. `reporting.store.waiting` reads it there.
NEEDS_THE_KEY = "it needs the key "
NONCE_BYTES = 12  # NIST SP 800-38D's recommended length; random, so a key must encrypt fewer than 2**32 values
_NONCE = slice(KEY_ID_BYTES, KEY_ID_BYTES + NONCE_BYTES)


class CannotDecrypt(Exception):
    """No key of the ring decrypts the value: a key was removed too early, or the row was changed.

    The text names the row, which may be a customer's: `for_logs` does not.
    """

    def __init__(self, text: str, for_logs: str = "a value cannot be decrypted") -> None:
        super().__init__(text)
        self.for_logs = for_logs


def new_key() -> str:
    """A new key in the form for the environment or a file: URL-safe base64 of 32 random bytes."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def derived_digest_key(key: str) -> str:
    """The digest key that a ring without one of its own makes of an encryption key. Raises ValueError."""
    return base64.urlsafe_b64encode(_derived(_key_bytes(key))).decode()


def key_id_of_value(start: bytes) -> str:
    """The id of the key that a value needs, from its first KEY_ID_BYTES bytes; empty if the value has no such start."""
    return start[1:KEY_ID_BYTES].hex() if len(start) >= KEY_ID_BYTES and start[:1] == VERSION else ""


def key_id_of(digest: str) -> str:
    """The id of the key that made a digest."""
    return digest[:KEY_ID_DIGITS]


def _derived(key: bytes) -> bytes:
    """It shows nothing about the encryption key."""
    return hmac.digest(key, b"onboarding digests", "sha256")


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"an encryption key is 32 bytes in URL-safe base64{PRINTED}")
    return key


class Keyring:
    """The first key encrypts, all of them decrypt. The first digest key hashes, all of them recognise."""

    def __init__(self, keys: Sequence[str], digest_keys: Sequence[str] = ()) -> None:
        """Without digest keys each key has one that is derived from it.

        Raises ValueError, without any key in its text, when a key is malformed or there is none.
        """
        if not keys:
            raise ValueError(f"no encryption key{PRINTED}")
        decoded = [_key_bytes(key) for key in keys]
        ids = [hashlib.sha256(b"onboarding key id" + key).digest()[:4] for key in decoded]
        self._keys = {VERSION + id_: key for id_, key in zip(ids, decoded, strict=True)}
        self._current = VERSION + ids[0]
        self.ids = tuple(each.hex() for each in ids)
        """The ids of the keys, in their order: 8 hex digits that show nothing of the key."""
        self.derives_digest_keys = not digest_keys
        digesting = [_key_bytes(key) for key in digest_keys] or [_derived(key) for key in decoded]
        # Each with its key in it already: a copy costs a third of a new one.
        self._digest_keys = [
            (
                hashlib.sha256(b"onboarding digest key id" + key).hexdigest()[:KEY_ID_DIGITS],
                hmac.new(key, digestmod="sha256"),
            )
            for key in digesting
        ]
        self.digest_ids = tuple(key_id for key_id, _ in self._digest_keys)
        """The ids of the digest keys, in their order: 8 hex digits that show nothing of the key."""

    @cached_property
    def _ciphers(self) -> "dict[bytes, AESGCM]":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return {start: AESGCM(key) for start, key in self._keys.items()}

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Keyed hashes of a text, one by each digest key: to recognise the text without storing it.

        Store the first, and compare stored digests with all. After a key is removed, its digests match nothing. The
        same text has other digests for another purpose.
        """
        content, found = f"{purpose}\0{text}".encode(), []
        for key_id, keyed in self._digest_keys:
            one = keyed.copy()
            one.update(content)
            found.append(key_id + one.hexdigest()[:DIGEST_DIGITS])
        return tuple(found)

    def encrypt(self, value: dict[str, Any], *, context: str) -> bytes:
        """Encrypt a JSON object for the row that `context` names."""
        plain, nonce = _ENCODER.encode(value).encode(), os.urandom(NONCE_BYTES)
        return self._current + nonce + self._ciphers[self._current].encrypt(nonce, plain, context.encode())

    def is_current(self, start: bytes) -> bool:
        """True if a value with these first KEY_ID_BYTES bytes was encrypted by the first key."""
        return start == self._current

    def decrypt(self, encrypted: bytes, *, context: str) -> dict[str, Any]:
        """The object that was encrypted for this context. Raises CannotDecrypt, which names only the context."""
        cipher = self._ciphers.get(encrypted[:KEY_ID_BYTES])
        if cipher is None:
            needed = f"{NEEDS_THE_KEY}{key_id_of_value(encrypted) or '?'}"
            likely = "is an older key missing from [encryption] keys?"
            text = "no key of the ring decrypts {}: {}; {}"
            raise CannotDecrypt(text.format(context, needed, likely), text.format("a value", needed, likely))
        from cryptography.exceptions import InvalidTag

        try:
            plain = cipher.decrypt(encrypted[_NONCE], encrypted[_NONCE.stop :], context.encode())
        except (InvalidTag, ValueError):  # a value cut off within its nonce is a ValueError
            text = "the encrypted value of {} was changed or belongs to another row"
            raise CannotDecrypt(text.format(context), text.format("a row")) from None
        value: dict[str, Any] = json.loads(plain)
        return value
