"""Takes lists from folders, SFTP, S3 and addresses: docs/features/list_sources.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="list_sources",
    about="Takes lists from folders, SFTP, S3 and addresses. Without it lists are files of this machine.",
    offers={
        "DOCTOR_CHECKS": ("worker.features.list_sources.drop_box:CHECK",),
        "LIST_SOURCES": ("worker.features.list_sources.remote_lists:SOURCE",),
        "SECTIONS": ("worker.features.list_sources.settings:SECTION",),
        "SOURCE_REPORTS": ("worker.features.list_sources.folder_report:reports",),
        "WORK": ("worker.features.list_sources.drop_box:WORK",),
    },
)
