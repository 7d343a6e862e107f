"""The callbacks of the service for texts: about texts and WhatsApp messages, and about answers to them; and what
messages carry so that the services that report on them name them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
# The reports in a callback, each with what it is recognised by; Unreadable: its sender should learn that it is none.
Found = Sequence[tuple[bytes, DeliveryUpdate | NotUnderstood]] | Unreadable


@dataclass(frozen=True)
class ServiceSource:
    """One service's callbacks. `refuses_unread` and `refuses` are those of a `Source`."""

    name: str
    largest: int
    keyring: Keyring
    refuses_unread: Callable[[Delivery], str]
    refuses: Callable[[Delivery, str], str]
    found: Callable[[Delivery], Found]

    def read(self, delivery: Delivery) -> Sequence[Arrived] | Unreadable:
        found = self.found(delivery)
        if isinstance(found, Unreadable):
            return found
        return [of_sender(self.name, digests_of(self.keyring, named), update) for named, update in found]


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
        found=lambda given: [(callbacks.signed_part(given.body), callbacks.read(given.body))],
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
