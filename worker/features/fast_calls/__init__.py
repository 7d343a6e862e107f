"""Makes calls over aiohttp's connections without ClientSession: docs/features/fast_calls.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="fast_calls",
    about="Makes calls, and hands mails over, for less processor time. Without it, libraries do both.",
    offers={
        "CALLS": ("onboarding_worker.features.fast_calls.switch:WAY",),
        "DOCTOR_CHECKS": ("onboarding_worker.features.fast_calls.switch:CHECK",),
        "SECTIONS": ("onboarding_worker.features.fast_calls.section:SECTION",),
    },
)
