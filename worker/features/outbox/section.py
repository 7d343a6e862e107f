"""The tables `[subscribers.NAME]`."""

from typing import Literal

from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.tls import OwnServer
from onboarding_worker.settings.values import Credential, ServerUrl, names, setting

LONGEST_NAME = 50  # it must fit into a column with its prefix
# The types of the CloudEvents that are published.
Published = Literal[
    "session.issued", "invitation.sent", "session.completed", "session.expired", "job.failed", "job.held"
]


class Subscriber(OwnServer):
    """Your HTTP endpoint that receives our events, as signed POST requests."""

    url: ServerUrl = setting(..., "The endpoint's address; https, or http on loopback.")
    keys: tuple[Credential, ...] = setting(
        ..., "Keys that sign the requests; with several, each key signs, so that keys can be rotated.", min_length=1
    )
    types: tuple[Published, ...] = setting((), "Which events to send.", "all events")


SECTION = FeatureSection(
    "subscribers",
    dict[names(LONGEST_NAME), Subscriber],  # type: ignore[misc]  # a type that a function makes
    {},
    outside=lambda subscribers: [(f"subscribers.{name}", one.url) for name, one in subscribers.items()],
)
