"""Links of our own, whose session is bought when they are pressed."""

from worker.core.features import Feature

FEATURE = Feature(
    name="stable_links",
    about="Links of our own, whose session is bought when they are pressed. Without it mails have the provider's.",
)
