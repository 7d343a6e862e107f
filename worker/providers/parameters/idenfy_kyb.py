"""iDenfy KYB: the fields of the form token's request (the page "Generate KYB form token")."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.providers.parameters.spec import Parameter, Type

MOST_LIFETIME = 30 * 24 * 60 * 60
MOST_TAGS = 5
UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
LOCALES = ("en", "es", "fr", "ru", "de", "it", "pl", "lt", "lv", "et", "cs", "ro", "hu", "ja", "bg", "nl", "pt")
EXTERNAL_REF = "column external_ref, else the job's id; with -2 for the second session, and so on"
WITHOUT_COMMA = r"[^,]+"
WITHOUT_COMMA_SHAPE = "without a comma"


def _uuid(name: str) -> Parameter:
    return Parameter(name, Type.TEXT, pattern=UUID, shape="a uuid", nullable=True)


def _list(name: str, most: int, **more: Any) -> Parameter:
    return Parameter(name, Type.LIST, 1, most, pattern=WITHOUT_COMMA, shape=WITHOUT_COMMA_SHAPE, **more)


PARAMETERS = (
    Parameter(
        "tokenType",
        Type.CHOICE,
        choices=("FORM", "GOV1", "GOV2"),
        default="required",
        # The page documents no body for the other two.
        instead="it is always FORM, the only kind that leads to a page for the customer",
    ),
    Parameter("clientId", Type.TEXT, 1, 100, instead="it is filled from the column customer_id"),
    Parameter(
        "lifetime", Type.INTEGER, 0, MOST_LIFETIME, warn_below=60, default="3600", filled="the account's lifetime"
    ),
    Parameter("externalRef", Type.TEXT, None, 40, nullable=True, filled=EXTERNAL_REF),
    Parameter(
        "locale",
        Type.CHOICE,
        choices=LOCALES,
        default="by the client's IP address",
        filled="the language of locale, if it is one of these",
    ),
    _uuid("flow"),
    _uuid("theme"),
    Parameter("questionnaire", Type.TEXT, 1, nullable=True, default="the KYB settings' questionnaire"),
    Parameter("questionnaireRequired", Type.BOOLEAN, default="true"),
    _list("tags", 32, items=MOST_TAGS, default="none", filled="column tags, added to the given tags"),
    _list("scanRefs", 40, nullable=True),
)


def warnings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameter and warning for each value that iDenfy ignores, according to the page."""
    if values.get("questionnaire") is not None and values.get("flow") is not None:
        yield "questionnaire", "is ignored with flow, which has a questionnaire of its own"
