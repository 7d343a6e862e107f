"""Recognises a sender of events by its keys: the request shows one of them, or is signed with one. Pure.

A text in place of a sender is why the credentials were not accepted. It holds no part of them.

What is shown is compared by its hash with the hash of every key of every sender, whichever fits. A signature is that of
Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over the message's id, its time and its body, so that the key
itself never travels.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from onboarding_worker.core.model.incoming import EventSender
from onboarding_worker.settings.outside import SenderOfEvents, hash_of, is_hash
from onboarding_worker.web.webhooks.standard_webhooks import TIMESTAMP, signing_key


@dataclass(frozen=True, repr=False)
class Key:
    """A key of a sender. `secret` is the key itself; None if only its hash is configured: such a key cannot sign."""

    sender: EventSender
    hash: str
    secret: str | None


def keys_of(senders: Mapping[str, SenderOfEvents]) -> tuple[Key, ...]:
    """The keys of these senders. Raises SettingsError for a key whose value is missing."""
    return tuple(
        Key(sender.rights(name), text, None) if is_hash(text) else Key(sender.rights(name), hash_of(text), text)
        for name, sender in senders.items()
        for text in (key.reveal() for key in sender.keys)
    )


def bearer(authorization: str, keys: Sequence[Key]) -> EventSender | str:
    """The sender whose key an `Authorization` header holds. The time it takes does not depend on which."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return "the Authorization header is not Bearer"
    shown = hash_of(given.strip())
    # A list: all keys are compared, also after one fits.
    fits = [hmac.compare_digest(key.hash, shown) for key in keys]
    return next((key.sender for key, one in zip(keys, fits, strict=True) if one), "the key is no sender's")


def signed_at(headers: Mapping[str, str]) -> datetime:
    """When a message was signed, to the second, aware UTC; for a message that `refused_unread` accepts."""
    return datetime.fromtimestamp(int(headers[TIMESTAMP]), UTC)


def signature(headers: Mapping[str, str], body: bytes, keys: Sequence[Key], now: datetime) -> EventSender | str:
    """The sender whose key a message was signed with: one of its signatures must be right."""
    signing = [(key.sender, key.secret) for key in keys if key.secret is not None]
    found = signing_key(headers, body, [secret for _, secret in signing], now=now)
    return found if isinstance(found, str) else signing[found][0]
