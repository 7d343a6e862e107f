"""FrankieOne KYC v2: the fields of IDV-Token-Request, from the OpenAPI document on FrankieOne's page."""

from worker.providers.parameters.frankieone import APPLICANT, APPLICATION, COUNTRY, DOCUMENT_TYPE, REFERRER, RELAY
from worker.providers.parameters.spec import Parameter, Type

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
