"""Lists in the browser: upload, check, mapping, approval: docs/features/uploads.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="uploads",
    about="Lists in the browser, from the file to its approval. Without it lists come by commands and folders.",
    needs=("dashboard",),
    offers={
        "DASHBOARD_PARTS": ("worker.features.uploads.pages:PART",),
        "SECTIONS": ("worker.features.uploads.uploaded:SECTION",),
        "WORK": ("worker.features.uploads.schedule:WORK",),
    },
)
