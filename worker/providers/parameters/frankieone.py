"""The parameters that FrankieOne's two token requests share, and KYC v2: the fields of IDV-Token-Request, from the
OpenAPI document on FrankieOne's page."""

from worker.providers.countries import ALPHA3_OF
from worker.providers.parameters.spec import Parameter, Type

# The schema names the first three; its own example has DRIVER_LICENCE, and the document model DRIVERS_LICENSE.
# Which names an account's vendor accepts is not documented: any name is sent, and other names give a warning.
DOCUMENT_TYPES = frozenset({"DRIVERS_LICENCE", "PASSPORT", "NATIONAL_ID", "DRIVER_LICENCE", "DRIVERS_LICENSE"})
RELAY_STATE = "column external_ref, else the job's id"

APPLICANT = Parameter("applicantId", Type.TEXT, 1, filled="the session that is replaced")
APPLICATION = Parameter("applicationId", Type.TEXT, 1)
COUNTRY = Parameter(
    "country",
    Type.TEXT,
    pattern="|".join(sorted(ALPHA3_OF.values())),
    shape="a country's three capital letters (ISO 3166-1 alpha-3)",
)
DOCUMENT_TYPE = Parameter("documentType", Type.TEXT, 1, usual=DOCUMENT_TYPES)
REFERRER = Parameter("referrer", Type.TEXT, 1, filled="the scheme and the host of the account's link")
RELAY = Parameter("relayState", Type.TEXT, 1, filled=RELAY_STATE)

PARAMETERS = (
    Parameter("entityId", Type.TEXT, instead="it is part of the address, filled from the column entity_id"),
    APPLICANT,
    APPLICATION,
    COUNTRY,
    DOCUMENT_TYPE,
    REFERRER,
    RELAY,
    Parameter("provider", Type.TEXT, 1, default="the account's default vendor"),
    Parameter("products", Type.LIST, 1, default="the vendor's"),
    Parameter("vendorParameters", Type.OBJECT),
    Parameter(
        "comment",
        Type.OBJECT,
        fields=(
            Parameter("commentId", Type.TEXT, instead="FrankieOne gives it"),
            Parameter("text", Type.TEXT),
            Parameter("entityId", Type.TEXT),
            Parameter("entityType", Type.CHOICE, choices=("INDIVIDUAL", "ORGANIZATION", "UNKNOWN")),
        ),
    ),
)
