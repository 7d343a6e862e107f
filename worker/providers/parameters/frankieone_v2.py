"""FrankieOne KYC v2: the fields of IDV-Token-Request (seed S0; providers.md 1.2)."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.providers.parameters.spec import Parameter, Type

ALPHA_3 = r"[A-Z]{3}"
# The schema names the first three, its own example writes DRIVER_LICENCE, and the document model
# DRIVERS_LICENSE; what an account's vendor takes is sent, and anything else is warned of.
DOCUMENT_TYPES = frozenset({"DRIVERS_LICENCE", "PASSPORT", "NATIONAL_ID", "DRIVER_LICENCE", "DRIVERS_LICENSE"})

PARAMETERS = (
    Parameter("entityId", Type.TEXT, instead="it is part of the address, filled from the column entity_id"),
    Parameter("applicantId", Type.TEXT, 1),
    Parameter("applicationId", Type.TEXT, 1),
    Parameter("country", Type.TEXT, pattern=ALPHA_3, shape="three capital letters (ISO 3166-1 alpha-3)"),
    Parameter("documentType", Type.TEXT, 1, usual=DOCUMENT_TYPES),
    Parameter("referrer", Type.TEXT, 1),
    Parameter("relayState", Type.TEXT, 1),
    Parameter("provider", Type.TEXT, 1),
    Parameter("products", Type.LIST, 1),
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


def contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """None: the fields of this request do not depend on each other."""
    yield from ()


def doubts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """None beyond those of single values."""
    yield from ()
