"""Reports of delivery by mail services and by Twilio: docs/features/delivery.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="delivery",
    about="Takes the reports of mail services and of Twilio. Without it what is handed over counts as delivered.",
    offers={
        "SECTIONS": ("worker.features.delivery.section:SECTION",),
        "SENDER_SOURCES": ("worker.features.delivery.sources:sender_sources",),
        "WAYS_BACK": ("worker.features.delivery.texts:WAY_BACK",),
    },
)
