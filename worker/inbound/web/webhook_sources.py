"""The sources of webhooks, and how each is recognised: a provider's account, the SMS provider, a mail system.

Each decision needs only the bytes, the headers and the configuration; this module stores nothing.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from worker.domain.contact.delivery_reports import DeliveryUpdate, NotUnderstood
from worker.domain.verification.session_updates import SessionUpdate
from worker.engine.adapters import callback_address
from worker.foundation.clock import Clock
from worker.foundation.keyring import Keyring
from worker.foundation.standard_webhooks import ID
from worker.providers import webhooks
from worker.providers.account import AccountUnusable
from worker.providers.registry import build_webhook_reader, webhook_peers
from worker.providers.webhooks import Delivery, Unreadable, WebhookReader
from worker.senders import email_callbacks, twilio_callbacks
from worker.settings import Account, Settings
from worker.store.webhooks.delivery_updates import delivery_as_json
from worker.store.webhooks.webhooks import ACCOUNT, SENDER, Arrived

SMS, EMAIL = f"{SENDER}sms", f"{SENDER}email"


class Source(Protocol):
    """A source of webhooks. `name` is its name in the database, `largest` its largest body in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def largest(self) -> int: ...

    def refuses_unread(self, delivery: Delivery) -> str:
        """Why the headers and the address alone are refused; "" where the body has to be checked."""

    def refuses(self, delivery: Delivery, query: str) -> str:
        """Why the webhook is not from this source; "" where it is. `query` is the part after the address's `?`."""

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        """The webhook to be stored; Unreadable where it is refused for good. Not for refused webhooks."""


class AccountSource:
    """A provider's account."""

    largest = webhooks.LARGEST

    def __init__(self, account: str, reader: WebhookReader, keyring: Keyring, clock: Clock, *, kept_as: str) -> None:
        """`kept_as`: the account under which webhooks are stored. Accounts that may get each other's webhooks share
        it, so that a copy at another address is recognised as a copy."""
        self.name = f"{ACCOUNT}{account}"
        self._kept_as = f"{ACCOUNT}{kept_as}"
        self._reader, self._keyring, self._clock = reader, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return self._reader.refuses_unread(delivery, now=self._clock())

    def refuses(self, delivery: Delivery, query: str) -> str:
        return self._reader.refuses(delivery, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        update = self._reader.read(delivery)
        # A digest of the body alone: an event's name in a header is not signed, and may differ in a copy.
        digests = _digests(self._keyring, delivery.body)
        if isinstance(update, Unreadable):
            if update.status >= 400:
                return update
            return Arrived(self._kept_as, digests, "unreadable", None, update.reason)
        stored = update.as_json() if _has_content(update) else None
        return Arrived(self._kept_as, digests, update.event, stored, update.note)


class Closed:
    """A source whose key is not configured: all its webhooks are refused."""

    largest = 0

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why

    def refuses_unread(self, delivery: Delivery) -> str:
        return self.why

    def refuses(self, delivery: Delivery, query: str) -> str:
        return self.why

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        return Unreadable(self.why, status=401)


class TextSource:
    """Twilio's callbacks about texts, and about answers to them."""

    name, largest = SMS, twilio_callbacks.LARGEST

    def __init__(self, address: str, keys: Sequence[str], keyring: Keyring) -> None:
        """`address` is the one that Twilio was given, `keys` those that Twilio may sign with."""
        self._address, self._keys, self._keyring = address, keys, keyring

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(twilio_callbacks.SIGNATURE) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        url = f"{self._address}?{query}" if query else self._address
        return twilio_callbacks.refusal(delivery.headers, delivery.body, url=url, keys=self._keys)

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        # A digest of what is signed, not of the bytes: the same callback in another order would be another genuine one.
        digests = _digests(self._keyring, twilio_callbacks.signed_part(delivery.body))
        return _of_sender(self.name, digests, twilio_callbacks.read(delivery.body))


class MailSource:
    """A mail system's callbacks, or those of a program that translates them."""

    name, largest = EMAIL, email_callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(ID) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        now = self._clock()
        return email_callbacks.refusal(delivery.headers, delivery.body, keys=self._keys, now=now)

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        # The digest includes the id, which a repetition keeps: two bounces may have the same text.
        named = delivery.headers[ID].encode("utf-8", "surrogatepass") + b"." + delivery.body
        return _of_sender(self.name, _digests(self._keyring, named), email_callbacks.read(delivery.body))


def account_sources(accounts: Mapping[str, Account], keyring: Keyring, clock: Clock) -> dict[str, Source]:
    """The sources by account."""
    sources: dict[str, Source] = {}
    peers = webhook_peers(accounts)
    for name, account in accounts.items():
        try:
            reader = build_webhook_reader(account)
        except AccountUnusable as error:
            sources[name] = Closed(f"{ACCOUNT}{name}", str(error))
            continue
        if reader is not None:
            sources[name] = AccountSource(name, reader, keyring, clock, kept_as=min(peers[name]))
    return sources


def sender_sources(settings: Settings, keyring: Keyring, clock: Clock) -> Mapping[str, Source]:
    """The sources by channel, for the channels that are configured."""
    sources: dict[str, Source] = {}
    if settings.sms is not None:
        # Twilio signs with the account's own token.
        signing = [key.reveal() for key in settings.sms.callback_key or (settings.sms.token,)]
        address = callback_address(settings.links.base_url, "sms")
        why = "links.base_url: needed, since Twilio signs the address that it was given"
        sources["sms"] = TextSource(address, signing, keyring) if address else Closed(SMS, why)
    if settings.email is not None:
        keys = tuple(key.reveal() for key in settings.email.callback_keys)
        why = "email.callback_keys: needed to accept callbacks about mails"
        sources["email"] = MailSource(keys, keyring, clock) if keys else Closed(EMAIL, why)
    return sources


def _has_content(update: SessionUpdate) -> bool:
    return update.state is not None or update.alert or bool(update.company_id)


def _of_sender(source: str, digests: tuple[str, ...], update: DeliveryUpdate | NotUnderstood) -> Arrived:
    if isinstance(update, NotUnderstood):
        return Arrived(source, digests, "unreadable", None, update.reason)
    nothing = update.status is None and update.stop is None and not update.resume
    return Arrived(source, digests, update.event, None if nothing else delivery_as_json(update))


def _digests(keyring: Keyring, content: bytes) -> tuple[str, ...]:
    return keyring.digests("webhook", sha256(content).hexdigest())
