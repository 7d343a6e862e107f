"""The service that `provider` in a channel's section stands for."""

from worker.providers.text_services import TEXT_SERVICES
from worker.senders.contract import TextService


def text_service(name: str) -> TextService:
    """The service of this name, which the configuration has checked. Raises AdapterBroken."""
    found: TextService | None = TEXT_SERVICES.load(name)
    if found is None:
        raise ValueError(f"{name} is no service for messages")
    return found
