"""The section `[metrics]`."""

from onboarding_worker.settings.outside import EventKey
from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.values import Section, setting


class Metrics(Section):
    """`GET /metrics` of `web` and `up`, for Prometheus. Without `keys` there is no such page."""

    keys: tuple[EventKey, ...] = setting(
        (),
        "Keys that a scrape must show, as `Authorization: Bearer KEY`; several while rotating. At least 32 characters;"
        " `onboard keys new --for events` prints one, and its hash, which is enough here.",
    )


SECTION = FeatureSection("metrics", Metrics)
