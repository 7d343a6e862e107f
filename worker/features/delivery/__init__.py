"""Reports of delivery by mail services and by Twilio: docs/features/delivery.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="delivery",
    about="Takes the reports of mail services and of Twilio. Without it what is handed over counts as delivered.",
    offers={
        "SECTIONS": ("onboarding_worker.features.delivery.section:SECTION",),
        "SENDER_SOURCES": ("onboarding_worker.features.delivery.sources:sender_sources",),
        "WAYS_BACK": ("onboarding_worker.features.delivery.texts:WAY_BACK",),
    },
)
