"""Who may set what in a row: the table of rights. It gives nothing by itself: the account must list the same."""

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import AfterValidator

from onboarding_worker.providers.parameters import unknown_parameter
from onboarding_worker.providers.row_rights import ACCOUNT, EARLIER, Right
from onboarding_worker.settings.problems import Findings, suggestion
from onboarding_worker.settings.values import Section, Shown, Text, setting


def _known(column: str) -> str:
    provider, _, name = column.partition(".")
    if column != ACCOUNT and (wrong := unknown_parameter(provider, name)):
        raise ValueError(f'expected "account" or a column such as "idenfy-kyc.documents": {wrong}')
    return column


Columns = tuple[Annotated[Text, AfterValidator(_known), Shown("column")], ...]
ByName = Annotated[dict[str, Columns], Shown("table of lists of columns")]
_NONE = "nothing"


class Rights(Section):
    """What rows may set of what their account lists in `per_row`, by where they come from: columns that [name an
    address or can weaken the check](../providers/parameters.md#what-a-row-may-set), and `account`."""

    lists: Columns = setting((), "Lists that are given to a command.", _NONE)
    uploads: Columns = setting((), "Lists that are uploaded to the dashboard.", _NONE)
    reports: Columns = setting((), "Rows that were filled in in a report that is given to a command.", _NONE)
    library: Columns = setting(
        (), "Requests of your own Python code; and of the bus, while [web.senders] names nobody.", _NONE
    )
    earlier: Columns = setting((), "Rows from before this table, of which no one knows where they came from.", _NONE)
    senders: ByName = setting({}, "Events, by [web.senders.NAME].", _NONE)
    folders: ByName = setting({}, "Lists and reports of a folder of [[intake]], by its name.", _NONE)

    def of(self, origin: str) -> Right:
        """The right of rows that come from there (`row_rights`); "": from before this table."""
        kind, _, name = (origin or EARLIER).partition(".")
        given: Mapping[str, Collection[str]] | Collection[str] = getattr(self, kind, ())
        return Right(f"rights.{origin or EARLIER}", given.get(name, ()) if isinstance(given, Mapping) else given)


def check_rights(rights: Rights, senders: Collection[str], findings: Findings) -> None:
    """The right of no one is a mistake."""
    for name in rights.senders.keys() - set(senders):
        findings.consequence(("rights", "senders", name), f"no such sender{suggestion(name, senders)}")
