"""Reports of delivery by mail services and by Twilio."""

from worker.core.features import Feature

FEATURE = Feature(
    name="delivery",
    about="Takes the reports of mail services and of Twilio. Without it what is handed over counts as delivered.",
    needs=("outbox",),
)
