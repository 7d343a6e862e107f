"""Links of our own, which lead to the session that lives: docs/features/stable_links.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="stable_links",
    about="Links of our own, whose session is bought when they are pressed. Without it mails have the provider's.",
    offers={
        "OWN_LINKS": ("onboarding_worker.features.stable_links.section:made",),
        "ROUTES": ("onboarding_worker.features.stable_links.routes:ROUTES",),
        "SECTIONS": ("onboarding_worker.features.stable_links.section:SECTION",),
    },
    serves=(
        "links that were sent lead customers to their sessions",
        "SELECT 1 FROM stable_link WHERE revoked_at IS NULL AND ends_at > CURRENT_TIMESTAMP",
    ),
)
