"""Lists in the browser: upload, check, mapping, approval: docs/features/uploads.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="uploads",
    about="Lists in the browser, from the file to its approval. Without it lists come by commands and folders.",
    needs=("dashboard",),
    offers={
        "DASHBOARD_PARTS": ("onboarding_worker.features.uploads.pages:PART",),
        "SECTIONS": ("onboarding_worker.features.uploads.uploaded:SECTION",),
        "STANDINGS": ("onboarding_worker.features.uploads.standing:STANDINGS",),
        "WORK": ("onboarding_worker.features.uploads.schedule:WORK",),
    },
)
