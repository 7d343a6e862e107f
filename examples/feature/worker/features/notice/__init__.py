"""A notice that the web server shows: docs/features/notice.md."""

from worker.core.features import Command, Feature

FEATURE = Feature(
    name="notice",
    about="Shows a notice at an address of the web server. Without it there is no such address.",
    offers={
        "ROUTES": ("worker.features.notice.route:ROUTES",),
        "TABLES": ("worker.features.notice.store.tables:TABLES",),
    },
    commands={
        "notice": Command("worker.features.notice.command:notice", "Processes", "Show a notice on the web server.")
    },
)
