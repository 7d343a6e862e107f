"""Takes lists from folders, SFTP, S3 and addresses: docs/features/list_sources.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="list_sources",
    about="Takes lists from folders, SFTP, S3 and addresses. Without it lists are files of this machine.",
    offers={
        "DOCTOR_CHECKS": ("onboarding_worker.features.list_sources.drop_box:CHECK",),
        "LIST_SOURCES": ("onboarding_worker.features.list_sources.remote_lists:SOURCE",),
        "SECTIONS": ("onboarding_worker.features.list_sources.settings:SECTION",),
        "STANDINGS": ("onboarding_worker.features.list_sources.folder_report:STANDINGS",),
        "WORK": ("onboarding_worker.features.list_sources.drop_box:WORK",),
    },
)
