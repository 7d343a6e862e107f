"""The callbacks of the service for texts: about texts and WhatsApp messages, and about answers to them; and what
messages carry so that the services that report on them name them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.core.model.incoming import SENDER
from onboarding_worker.features.delivery import twilio
from onboarding_worker.features.delivery.postmark import headers_of
from onboarding_worker.features.delivery.section import Delivery as Section
from onboarding_worker.providers.webhooks.contract import Delivery, Unreadable
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood, Returning, TextCallbacks, text_service
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.webhooks.sources import Closed, Source, digests_of, of_sender
from onboarding_worker.web.webhooks.store.webhooks import Arrived
from onboarding_worker.wiring.senders import WayBack

# Of the services that are ours. The adapter of another package brings its own.
OURS = {"twilio": TextCallbacks(twilio.unsigned, twilio.refusal, twilio.signed_part, twilio.read, twilio.LARGEST)}
Report = DeliveryUpdate | NotUnderstood
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceSource:
    """One service's callbacks. `refuses_unread` and `refuses` are those of a `Source`. `named`: what a callback is
    recognised by; of a callback with several reports `reports` says it."""

    name: str
    largest: int
    keyring: Keyring
    refuses_unread: Callable[[Delivery], str]
    refuses: Callable[[Delivery, str], str]
    named: Callable[[Delivery], bytes]
    reports: Callable[[bytes], Report | Sequence[tuple[bytes, Report]]]
    _logged: set[str] = field(default_factory=set)

    def read(self, delivery: Delivery) -> Sequence[Arrived] | Unreadable:
        found = self.reports(delivery.body)
        several = [(self.named(delivery), found)] if isinstance(found, Report) else found
        if isinstance(found, NotUnderstood) and found.malformed:
            return Unreadable(found.reason, status=400)  # its sender should learn it
        if isinstance(found, NotUnderstood) and found.reason not in self._logged:
            self._logged.add(found.reason)
            log.info("%s: a callback is stored as ignored, as are all like it: %s", self.name, found.reason)
        return [of_sender(self.name, digests_of(self.keyring, named), update) for named, update in several]


def _of_texts(
    name: str, callbacks: TextCallbacks, address: str, keys: Sequence[str], keyring: Keyring
) -> ServiceSource:
    """`address` is the one that the service was given, `keys` those that it may sign with."""
    return ServiceSource(
        name,
        callbacks.largest,
        keyring,
        refuses_unread=lambda given: callbacks.unsigned(given.headers),
        refuses=lambda given, query: callbacks.refusal(
            given.headers, given.body, f"{address}?{query}" if query else address, keys
        ),
        # A digest of what is signed, not of the bytes: the same callback in another order would be another genuine one.
        named=lambda given: callbacks.signed_part(given.body),
        reports=callbacks.read,
    )


def callback_address(settings: Settings, channel: str) -> str:
    """The address that the service of this channel reports to, as it is given to the service; "" without a base_url."""
    base_url = settings.web.base_url
    return f"{base_url.rstrip('/')}/callbacks/{channel}" if base_url else ""


def text_sources(settings: Settings, keyring: Keyring) -> Iterator[tuple[str, Source]]:
    """The sources by channel, for the channels that are configured."""
    for channel in channels_of("phone"):
        section = settings.texting(channel)
        if section is None:
            continue
        callbacks = text_service(section.provider).callbacks or OURS.get(section.provider)
        if callbacks is None:
            continue
        # Twilio, and a service that names no other key, signs with the account's own token.
        signing = [key.reveal() for key in section.callback_key or (section.token,)]
        address = callback_address(settings, channel)
        why = "" if address else "web.base_url: needed, since the service signs the address that it was given"
        if section.key and not section.callback_key:
            why = "sms.callback_key: needed with `key`, since the service signs with the account's own token"
        name = f"{SENDER}{channel}"
        yield channel, Closed(name, why) if why else _of_texts(name, callbacks, address, signing, keyring)


def _mails(settings: Settings, keyring: Keyring) -> Callable[[str], Returning] | None:
    if settings.section(Section).postmark is None:
        return None
    return lambda key: Returning(headers=headers_of(key))


WAY_BACK = WayBack(mails=_mails, texts=callback_address)
