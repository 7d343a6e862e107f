"""Lists from folders, SFTP, S3 and addresses."""

from worker.core.features import Feature

FEATURE = Feature(
    name="list_sources",
    about="Takes lists from folders, SFTP, S3 and addresses. Without it lists are files of this machine.",
    needs=("service_desk",),
)
