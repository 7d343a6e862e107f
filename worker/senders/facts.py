"""What a service for messages to phones documents, and where its adapter is. The configuration asks here, so that it
loads no sender.
"""

from dataclasses import dataclass

from onboarding_worker.adapters.catalogue import Catalogue


@dataclass(frozen=True)
class TextFacts:
    """What a service documents: its production host, and the channels (`worker/core/model/channels.py`) it serves."""

    host: str
    channels: tuple[str, ...] = ("sms",)


TEXT_SERVICES = Catalogue("onboarding_worker.senders", {"twilio": "onboarding_worker.senders.twilio:TEXT_SERVICE"})


def text_facts_of(service: str) -> TextFacts | None:
    """The facts of the service; None if there is none of this name. Raises AdapterBroken."""
    return TEXT_SERVICES.facts(service, TextFacts, "onboarding_worker.senders.contract.TextService")
