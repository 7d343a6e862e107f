"""Folders that lists are taken from."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from worker.settings.problems import Findings
from worker.settings.values import Country, Duration, Flag, Locale, Section, Shown, Text, Whole, directory_of


def _folder(given: Any, info: ValidationInfo) -> Path:
    if not isinstance(given, str | Path) or not str(given):
        raise ValueError("expected the path of a directory")
    if "://" in str(given):
        raise ValueError("not in this release: a folder on another machine; give a directory of this one")
    # It need not be there: a folder on a network is away at times, and `onboard status` says so.
    return (directory_of(info) or Path()) / given


class Intake(Section):
    """A folder that lists are taken from, by `onboard up` and by workers: docs/how-to/drop-box.md."""

    folder: Annotated[Path, BeforeValidator(_folder), Shown("directory")] = Field(
        description="The directory, relative to this configuration."
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")] | None = Field(
        None,
        description="Its name in `status` and the audit log.",
        json_schema_extra={"default": "the directory's last name"},
    )
    settle: Duration = Field(
        timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="A file is taken when it has not changed for so long.",
    )
    largest: Whole = Field(
        1024, ge=1, le=1_000_000, description="The largest file that is taken, in MiB; a larger one is refused."
    )
    approve: Flag = Field(
        False, description="true: nothing of a list is sent before a person agrees with `onboard resume`."
    )
    strict: Flag = Field(False, description="true: a list with one rejected row is refused as a whole.")
    account: Text | None = Field(
        None, description="The account of rows that name none.", json_schema_extra={"default": "by the routes"}
    )
    template: Text | None = Field(
        None, description="The template of rows that name none.", json_schema_extra={"default": "the default one"}
    )
    locale: Locale | None = Field(
        None, description="The language of rows that name none.", json_schema_extra={"default": "invitations.locale"}
    )
    purpose: Text | None = Field(
        None, description="The purpose of rows that name none.", json_schema_extra={"default": "onboarding"}
    )
    country: Country | None = Field(
        None, description="The country of rows that name none.", json_schema_extra={"default": "none"}
    )
    channel: Literal["email", "sms", "both", "none"] | None = Field(
        None, description="The channel of rows that name none.", json_schema_extra={"default": "what the row has"}
    )
    per_hour: Whole | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="The most first invitations of one list in an hour, as `run --per-hour`.",
        json_schema_extra={"default": "as fast as the limits allow"},
    )

    @property
    def known_as(self) -> str:
        """Its name for people and in the database."""
        return self.name or self.folder.name[:63]

    @property
    def defaults(self) -> dict[str, str]:
        """What a row's cell is where the row has none, by our column."""
        columns = ("account", "template", "locale", "purpose", "country", "channel")
        return {column: str(value) for column in columns if (value := getattr(self, column)) is not None}


def check_intake(folders: Mapping[int, Intake], accounts: Mapping[str, Any], findings: Findings) -> None:
    """Each folder has a name and a directory of its own, and names what is there."""
    names = Counter(one.known_as for one in folders.values())
    places = Counter(one.folder.absolute() for one in folders.values())
    for index, one in folders.items():
        path = ("intake", index)
        if names[one.known_as] > 1:
            findings.consequence((*path, "name"), f"two folders are called {one.known_as}: give each a name")
        if places[one.folder.absolute()] > 1:
            findings.consequence((*path, "folder"), "it is named twice")
        if one.account is not None and accounts and one.account not in accounts:
            findings.consequence((*path, "account"), "no such account")
