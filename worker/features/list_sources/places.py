"""Which code works a folder: by its address."""

from worker.features.list_sources.local_folder import LocalFolder
from worker.features.list_sources.place import Place
from worker.features.list_sources.s3_folder import S3Folder
from worker.features.list_sources.settings import Intake, Remote
from worker.features.list_sources.sftp_folder import SftpFolder


def place_of(folder: Intake) -> Place:
    """The folder, as the drop box uses it. Opens no connection."""
    if not isinstance(folder.folder, Remote):
        return LocalFolder(folder.folder, folder.mode)
    return (S3Folder if folder.folder.scheme == "s3" else SftpFolder)(folder, folder.folder)
