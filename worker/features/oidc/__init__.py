"""Log-in to the dashboard at an identity provider: docs/features/oidc.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="oidc",
    about="Log-in to the dashboard by OpenID Connect. Without it people log in with passwords of the file of users.",
    needs=("dashboard",),
    offers={
        "DOCTOR_CHECKS": ("onboarding_worker.features.oidc.doctor:CHECK",),
        "LOG_IN_WAYS": ("onboarding_worker.features.oidc.log_in:LOG_IN_WAY",),
        "SECTIONS": ("onboarding_worker.features.oidc.section:SECTION",),
    },
)
