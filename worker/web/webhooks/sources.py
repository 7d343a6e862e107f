"""The sources of webhooks, and how each is recognised: a provider's account, the SMS provider, a mail system.

Each decision needs only the bytes, the headers and the configuration; this module stores nothing.
"""

from collections.abc import Mapping, Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.session_updates import SessionUpdate
from worker.core.model.channels import channels_of
from worker.features.delivery.mail_sources import EMAIL, build_mail_source
from worker.features.delivery.sns_confirmation import Get, get
from worker.providers.account import AccountUnusable
from worker.providers.registry import build_webhook_reader, webhook_peers
from worker.providers.webhooks import contract as webhooks
from worker.providers.webhooks.contract import Delivery, Unreadable, WebhookReader
from worker.senders.contract import TextCallbacks
from worker.senders.registry import text_service
from worker.settings.accounts import Account
from worker.settings.model import Settings
from worker.web.webhooks.contract import Closed, Source, digests_of, of_sender
from worker.web.webhooks.store.results import ACCOUNT, SENDER
from worker.web.webhooks.store.webhooks import Arrived
from worker.wiring.adapters import callback_address


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
        digests = digests_of(self._keyring, delivery.body)
        if isinstance(update, Unreadable):
            if update.status >= 400:
                return update
            return Arrived(self._kept_as, digests, "unreadable", None, update.reason)
        stored = update.as_json() if _has_content(update) else None
        return Arrived(self._kept_as, digests, update.event, stored, update.note)


class TextSource:
    """The callbacks of the service for texts, also about answers to them."""

    def __init__(
        self, channel: str, callbacks: TextCallbacks, address: str, keys: Sequence[str], keyring: Keyring
    ) -> None:
        """`address` is the one that the service was given, `keys` those that it may sign with."""
        self.name = f"{SENDER}{channel}"
        self._callbacks, self.largest = callbacks, callbacks.largest
        self._address, self._keys, self._keyring = address, keys, keyring

    def refuses_unread(self, delivery: Delivery) -> str:
        return self._callbacks.unsigned(delivery.headers)

    def refuses(self, delivery: Delivery, query: str) -> str:
        url = f"{self._address}?{query}" if query else self._address
        return self._callbacks.refusal(delivery.headers, delivery.body, url, self._keys)

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        # A digest of what is signed, not of the bytes: the same callback in another order would be another genuine one.
        digests = digests_of(self._keyring, self._callbacks.signed_part(delivery.body))
        return of_sender(self.name, digests, self._callbacks.read(delivery.body))


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


def sender_sources(settings: Settings, keyring: Keyring, clock: Clock, ask_sns: Get = get) -> Mapping[str, Source]:
    """The sources by channel, for the channels that are configured."""
    sources: dict[str, Source] = {}
    for channel in channels_of("phone"):
        section = settings.texting(channel)
        callbacks = text_service(section.provider).callbacks if section is not None else None
        if section is None or callbacks is None:
            continue
        # Twilio, and a service that names no other key, signs with the account's own token.
        signing = [key.reveal() for key in section.callback_key or (section.token,)]
        address = callback_address(settings.web.base_url, channel)
        why = "" if address else "web.base_url: needed, since the service signs the address that it was given"
        if section.key and not section.callback_key:
            why = "sms.callback_key: needed with `key`, since the service signs with the account's own token"
        open_ = TextSource(channel, callbacks, address, signing, keyring)
        sources[channel] = Closed(open_.name, why) if why else open_
    if settings.email is not None:
        source = build_mail_source(settings.email, keyring, clock, ask_sns)
        sources["email"] = Closed(EMAIL, source) if isinstance(source, str) else source
    return sources


def _has_content(update: SessionUpdate) -> bool:
    return update.state is not None or update.alert or bool(update.company_id)
