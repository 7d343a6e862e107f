"""What follows from the configuration: how our own links are made."""

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.features.stable_links.section import Links
from worker.settings.model import Settings

if TYPE_CHECKING:
    from worker.core.lifecycle.store.own_links import StableLinks

# How long our own link leads on after the last message: as long as people come back to one in their mailbox.
VALID = timedelta(days=60)


def made(settings: Settings) -> "StableLinks | None":
    """A link ends before its customer's data does."""
    links, base = settings.section(Links), settings.web.base_url
    if not links.are_ours or base is None:
        return None
    from worker.core.lifecycle.store.own_links import StableLinks

    return StableLinks(base, min(VALID, settings.retention.personal), on_click=links.issue == "on-click")
