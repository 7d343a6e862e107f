"""iDenfy KYC, nested form: the request of the OpenAPI document with `tokenString` (docs/providers/idenfy-kyc.md).

Names are the document's, nested by dots: `client.name`, `settings.verifyEmail`, `urls.webhookUrl`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.providers.parameters.idenfy_kyc import (
    ACCOUNTS,
    COUNTRY_SHAPE,
    DEFAULT_LIFETIME,
    DOCUMENTS,
    EXTERNAL_REF,
    LIFETIME,
    LOCALE,
    MOST_LIFETIME,
    NAMED,
    PERSONAL,
    switches,
)
from worker.providers.parameters.spec import Parameter, Type

UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
UUID_SHAPE = "a uuid"

# The narrative form's name and this form's name, for parameters that have another.
_OF_CLIENT = "dateOfBirth sex nationality documentNumber personalNumber dateOfExpiry dateOfIssue"
_SETTINGS = (
    "showInstructions verifyEmail verifyPhone verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions"
)
RENAMED = {
    "firstName": "client.name",
    "lastName": "client.surname",
    **{name: f"client.{name}" for name in _OF_CLIENT.split()},
    "country": "allowedCountries",
    "documents": "allowedDocuments",
    "expiryTime": "lifetime",
    "successUrl": "urls.successUrl",
    "errorUrl": "urls.failUrl",
    "unverifiedUrl": "urls.unverifiedUrl",
    "callbackUrl": "urls.webhookUrl",
    **{name: f"settings.{name}" for name in _SETTINGS.split()},
    "reviewFailed": "settings.reviewFailedVerifications",
    "reviewSuccessful": "settings.reviewSuccessfulVerifications",
    "verifyAddress": "settings.verifyPoaAddress",
}


def _text(name: str, most: int | None = None, **more: Any) -> Parameter:
    return Parameter(name, Type.TEXT, None, most, **{"nullable": True, **more})


def _url(name: str) -> Parameter:
    # Any scheme: the document asks for a URI; the narrative page asks for https.
    return Parameter(name, Type.URI, nullable=True, default=ACCOUNTS)


PARAMETERS = (
    Parameter("clientId", Type.TEXT, None, 100, instead="it is filled from the column customer_id"),
    Parameter(
        "tokenType",
        Type.CHOICE,
        choices=("IDENTIFICATION", "DOCUMENT"),
        default="required by the document",
        filled="IDENTIFICATION",
    ),
    _text("externalRef", 40, filled=EXTERNAL_REF),
    *switches("generateDigitString", default="false"),
    Parameter("lifetime", Type.INTEGER, 0, MOST_LIFETIME, warn_below=60, filled=LIFETIME),
    _text("locale", 7, filled=LOCALE),
    Parameter("sessionLength", Type.INTEGER, 60, 3600),
    Parameter(
        "allowedCountries",
        Type.LIST,
        pattern=r"[A-Za-z]{2}",
        shape=COUNTRY_SHAPE.removesuffix(", or ALL"),
        nullable=True,
        default="all",
    ),
    Parameter("allowedDocuments", Type.LIST, nullable=True, usual=DOCUMENTS, default=ACCOUNTS),
    Parameter(
        "client",
        Type.OBJECT,
        nullable=True,
        fields=(
            _text("name", 100, filled=NAMED.format("first_name")),
            _text("surname", 100, filled=NAMED.format("last_name")),
            Parameter("dateOfBirth", Type.DATE, nullable=True, filled=PERSONAL.format("date_of_birth")),
            _text("nationality", filled=PERSONAL.format("nationality")),
            _text("documentNumber", 50),
            _text("personalNumber", 50),
            Parameter("sex", Type.CHOICE, choices=("M", "F"), nullable=True, filled=PERSONAL.format("sex")),
            Parameter("dateOfExpiry", Type.DATE, nullable=True),
            _text("dateOfIssue"),  # the document gives no format for it
        ),
    ),
    Parameter(
        "urls",
        Type.OBJECT,
        nullable=True,
        fields=(_url("successUrl"), _url("failUrl"), _url("unverifiedUrl"), _url("webhookUrl")),
    ),
    Parameter(
        "settings",
        Type.OBJECT,
        nullable=True,
        fields=(
            *switches("verifyEmail verifyPhone"),
            *switches("verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions"),
            *switches("verifyPoaAddress showInstructions reviewFailedVerifications reviewSuccessfulVerifications"),
        ),
    ),
    _text("questionnaire", default=ACCOUNTS),
    *switches("questionnaireRequired", default="true"),
    _text("riskAssessmentProfile", pattern=UUID, shape=UUID_SHAPE),
    _text("address", filled=PERSONAL.format("address")),
)


def contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameter and problem for each pair of values that contradict each other.

    The document names none. These are the narrative page's rules for the same call, for parameters of both forms.
    """
    settings = values.get("settings")
    if isinstance(settings, Mapping):
        for name in ("verifyBankAccounts", "verifyBankBalances", "verifyBankTransactions"):
            if settings.get(name) is True and settings.get("verifyBank") is False:
                yield f"settings.{name}", "needs settings.verifyBank, which is false"
    lifetime = values.get("lifetime")
    if values.get("generateDigitString") is True and isinstance(lifetime, int) and lifetime > DEFAULT_LIFETIME:
        yield "lifetime", f"must be at most {DEFAULT_LIFETIME} with generateDigitString"
