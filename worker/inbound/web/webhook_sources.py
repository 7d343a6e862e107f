"""Who tells us things afterwards, and how each is known: a provider's account, the SMS provider, a mail system.

Everything is decided from the bytes, the headers and the configuration; nothing is kept here.
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
    """One who tells us things. `name` is ours for it, `largest` its largest body in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def largest(self) -> int: ...

    def refuses_unread(self, delivery: Delivery) -> str:
        """Why it is refused by its headers and address alone; "" where its body has to be looked at."""

    def refuses(self, delivery: Delivery, query: str) -> str:
        """Why it is not theirs; "" where it is. `query` is what followed the address's `?`."""

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        """What is to be kept of it; Unreadable where it is to be refused for good. Only for what was not refused."""


class AccountSource:
    """A provider's account."""

    largest = webhooks.LARGEST

    def __init__(self, account: str, reader: WebhookReader, keyring: Keyring, clock: Clock, *, kept_as: str) -> None:
        """`kept_as`: the account under which it is kept: one for all whose webhooks may come to each other's address,
        so that a copy is known as one there too."""
        self.name = f"{ACCOUNT}{account}"
        self._kept_as = f"{ACCOUNT}{kept_as}"
        self._reader, self._keyring, self._clock = reader, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return self._reader.refuses_unread(delivery, now=self._clock())

    def refuses(self, delivery: Delivery, query: str) -> str:
        return self._reader.refuses(delivery, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        said = self._reader.read(delivery)
        # Of the body alone: the event's name in a header is not signed, and a copy under another name is a copy.
        digests = _digests(self._keyring, delivery.body)
        if isinstance(said, Unreadable):
            return said if said.status >= 400 else Arrived(self._kept_as, digests, "unreadable", None, said.reason)
        return Arrived(self._kept_as, digests, said.event, said.as_json() if _says_something(said) else None, said.note)


class Closed:
    """One who cannot be known, since what it would be known by is not configured: nothing is believed."""

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
    """Twilio, of texts and of answers to them."""

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
        # Of what is signed, not of its bytes: one that was heard, in another order, would be another genuine one.
        digests = _digests(self._keyring, twilio_callbacks.signed_part(delivery.body))
        return _of_sender(self.name, digests, twilio_callbacks.read(delivery.body))


class MailSource:
    """A mail system, or what translates for it."""

    name, largest = EMAIL, email_callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(ID) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        now = self._clock()
        return email_callbacks.refusal(delivery.headers, delivery.body, keys=self._keys, now=now)

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        # With its id, which a repetition keeps: two bounces may be the same words.
        named = delivery.headers[ID].encode("utf-8", "surrogatepass") + b"." + delivery.body
        return _of_sender(self.name, _digests(self._keyring, named), email_callbacks.read(delivery.body))


def account_sources(accounts: Mapping[str, Account], keyring: Keyring, clock: Clock) -> dict[str, Source]:
    """By the account's name."""
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
    """By the channel, of those that are configured."""
    sources: dict[str, Source] = {}
    if settings.sms is not None:
        # Twilio signs with the account's own token.
        signing = [key.reveal() for key in settings.sms.callback_key or (settings.sms.token,)]
        address = callback_address(settings.links.base_url, "sms")
        why = "links.base_url: needed, since Twilio signs the address that it was given"
        sources["sms"] = TextSource(address, signing, keyring) if address else Closed(SMS, why)
    if settings.email is not None:
        keys = tuple(key.reveal() for key in settings.email.callback_keys)
        why = "email.callback_keys: needed to take what is told of mails"
        sources["email"] = MailSource(keys, keyring, clock) if keys else Closed(EMAIL, why)
    return sources


def _says_something(update: SessionUpdate) -> bool:
    return update.state is not None or update.alert or bool(update.company_id)


def _of_sender(source: str, digests: tuple[str, ...], said: DeliveryUpdate | NotUnderstood) -> Arrived:
    if isinstance(said, NotUnderstood):
        return Arrived(source, digests, "unreadable", None, said.reason)
    nothing = said.status is None and said.stop is None and not said.resume
    return Arrived(source, digests, said.event, None if nothing else delivery_as_json(said))


def _digests(keyring: Keyring, content: bytes) -> tuple[str, ...]:
    return keyring.digests(sha256(content).hexdigest())
