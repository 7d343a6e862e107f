"""A notice that the web server shows: docs/features/notice.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="notice",
    about="Shows a notice at an address of the web server. Without it there is no such address.",
    offers={
        "ROUTES": ("onboarding_worker.features.notice.route:ROUTES",),
        "TABLES": ("onboarding_worker.features.notice.store.tables:TABLES",),
    },
    commands={
        "notice": Command(
            "onboarding_worker.features.notice.command:notice", "Processes", "Show a notice on the web server."
        )
    },
)
