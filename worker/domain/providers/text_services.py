"""Where the services for messages to phones are: our own, and those of installed packages."""

from dataclasses import dataclass

from worker.domain.providers.entry_points import AdapterBroken, Catalogue


@dataclass(frozen=True)
class TextFacts:
    """What a service documents: its production host, and the channels (`worker/domain/model/channels.py`) it serves."""

    host: str
    channels: tuple[str, ...] = ("sms",)


TEXT_SERVICES = Catalogue("onboarding_worker.senders", {"twilio": "worker.senders.twilio:TEXT_SERVICE"})


def text_facts_of(service: str) -> TextFacts | None:
    """The facts of the service; None if there is none of this name. Raises AdapterBroken."""
    found = TEXT_SERVICES.load(service)
    if found is None:
        return None
    facts = getattr(found, "facts", None)
    if not isinstance(facts, TextFacts):
        raise AdapterBroken(TEXT_SERVICES.misfit(service, "worker.senders.contract.TextService"))
    return facts
