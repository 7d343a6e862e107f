"""Makes calls over aiohttp's connections without ClientSession: docs/features/fast_calls.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="fast_calls",
    about="Makes calls, and hands mails over, for less processor time. Without it, libraries do both.",
    offers={
        "CALLS": ("worker.features.fast_calls.switch:WAY",),
        "DOCTOR_CHECKS": ("worker.features.fast_calls.switch:CHECK",),
        "SECTIONS": ("worker.features.fast_calls.section:SECTION",),
    },
)
