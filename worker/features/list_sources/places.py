"""Each folder of [[intake]], where it is; and whether it can be read, for `onboard doctor`."""

from collections.abc import Iterator

from worker.cli.feature_checks import FeatureCheck, Finding, failure, ok, warning
from worker.core.foundation.notation import counted
from worker.features.list_sources.local_folder import LocalFolder
from worker.features.list_sources.place import Away, Place
from worker.features.list_sources.s3_folder import S3Folder
from worker.features.list_sources.settings import Intake, Remote
from worker.features.list_sources.sftp_folder import SftpFolder
from worker.settings.problems import SettingsError
from worker.wiring.container import Parts


def place_of(folder: Intake) -> Place:
    """The folder, as the drop box uses it. Opens no connection."""
    if not isinstance(folder.folder, Remote):
        return LocalFolder(folder.folder, folder.mode)
    return (S3Folder if folder.folder.scheme == "s3" else SftpFolder)(folder, folder.folder)


def check(parts: Parts) -> Iterator[Finding]:
    """Each folder of [[intake]] can be read from here."""
    for folder in parts.settings.tables(Intake):
        what = f"folder {folder.known_as}"
        try:
            found = place_of(folder).found(now=parts.clock())
        except Away as error:
            yield failure(what, f"cannot be read: {error}", "docs/features/list_sources.md")
        except SettingsError as error:
            yield warning(what, f"not asked: {'; '.join(error.problems)}", "run it where the credentials are set")
        else:
            lists = counted(len(found.stamps), "list")
            more = f", and {counted(len(found.odd), 'file')} that cannot be taken" if found.odd else ""
            yield ok(what, f"can be read; it holds {lists}{more}")


CHECK = FeatureCheck(check)
