"""The section `[metrics]`."""

from pydantic import Field

from worker.settings.event_senders import EventKey
from worker.settings.shape import FeatureSection
from worker.settings.values import Section


class Metrics(Section):
    """`GET /metrics` of `web` and `up`, for Prometheus. Without `keys` there is no such page."""

    keys: tuple[EventKey, ...] = Field(
        (),
        description="Keys that a scrape must show, as `Authorization: Bearer KEY`; several while rotating. At least 32"
        " characters; `onboard keys new --for events` prints one, and its hash, which is enough here.",
    )


SECTION = FeatureSection("metrics", Metrics)
