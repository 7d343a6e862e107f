"""Makes, rotates and retires keys: docs/features/keys.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="keys",
    about="Makes, rotates and retires keys. Without it a key stays for ever.",
    commands={
        "keys": Command("onboarding_worker.features.keys.command:keys", "Set-up", "Make, rotate and retire keys.")
    },
)
