"""Which code works a folder: by its address."""

from worker.inbound.folders.local_folder import LocalFolder
from worker.inbound.folders.place import Place
from worker.inbound.folders.s3_folder import S3Folder
from worker.inbound.folders.sftp_folder import SftpFolder
from worker.settings.intake import Intake, Remote


def place_of(folder: Intake) -> Place:
    """The folder, as the drop box uses it. Opens no connection."""
    if not isinstance(folder.folder, Remote):
        return LocalFolder(folder.folder, folder.mode)
    return (S3Folder if folder.folder.scheme == "s3" else SftpFolder)(folder, folder.folder)
