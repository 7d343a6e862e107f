"""Where the services for messages to phones are: our own, and those of installed packages."""

from dataclasses import dataclass

from worker.providers.entry_points import Catalogue


@dataclass(frozen=True)
class TextFacts:
    """What a service documents: its production host, and the channels (`worker/core/model/channels.py`) it serves."""

    host: str
    channels: tuple[str, ...] = ("sms",)


TEXT_SERVICES = Catalogue("onboarding_worker.senders", {"twilio": "worker.senders.twilio:TEXT_SERVICE"})


def text_facts_of(service: str) -> TextFacts | None:
    """The facts of the service; None if there is none of this name. Raises AdapterBroken."""
    return TEXT_SERVICES.facts(service, TextFacts, "worker.senders.contract.TextService")
