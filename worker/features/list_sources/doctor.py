"""What `doctor` says of folders that lists are taken from."""

from collections.abc import Iterator

from worker.cli.feature_checks import FeatureCheck
from worker.core.foundation.plural import counted
from worker.core.model.findings import Finding, failure, ok, warning
from worker.features.list_sources.place import Away
from worker.features.list_sources.places import place_of
from worker.features.list_sources.settings import Intake
from worker.settings.problems import SettingsError
from worker.wiring.container import Parts


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
