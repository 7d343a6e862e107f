"""FrankieOne v1: the fields of the token request, with `entity` and its parts (docs/providers/frankieone-v1.md).

The page marks no field as required and gives no bounds; the types are from its sample. `consent` cannot be given as
a parameter: it is sent only if the customer's own line has true. We fill nothing of `entity.organisationData`, because
the endpoint verifies people; it can be given, and must have the sample's types.
"""

from worker.providers.parameters.frankieone import APPLICANT, APPLICATION, COUNTRY, DOCUMENT_TYPE, REFERRER, RELAY
from worker.providers.parameters.spec import Parameter, Type

NAMED = "{} (`prefill` name or all)"
PERSONAL = "{} (`prefill` all)"


def _text(name: str, filled: str = "") -> Parameter:
    return Parameter(name, Type.TEXT, 1, filled=filled)


def _texts(names: str) -> tuple[Parameter, ...]:
    return tuple(_text(name) for name in names.split())


def _flags(names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, Type.BOOLEAN) for name in names.split())


Shape = Type | list["Shape"] | dict[str, "Shape"]
TEXT, FLAG, NUMBER = Type.TEXT, Type.BOOLEAN, Type.NUMBER


def shaped(name: str, shape: Shape) -> Parameter:
    """The parameter of that shape: a type, a list of one shape, or an object's members."""
    match shape:
        case Type():
            return Parameter(name, shape)
        case [dict() as members]:
            return Parameter(name, Type.RECORDS, fields=members_of(members))
        case list():
            return Parameter(name, Type.LIST)
        case dict() as members:
            return Parameter(name, Type.OBJECT, fields=members_of(members))


def members_of(shape: dict[str, Shape]) -> tuple[Parameter, ...]:
    return tuple(shaped(name, inner) for name, inner in shape.items())


CODED: Shape = {"code": TEXT, "description": TEXT}
ORGANISATION: Shape = {
    "adverseCreditDataPresent": FLAG,
    "aliases": [TEXT],
    "blockingReasons": [
        {
            "candidates": [
                {
                    "address": TEXT,
                    "code": TEXT,
                    "countryIso": TEXT,
                    "registeredName": TEXT,
                    "registryDescription": TEXT,
                    "subdivision": TEXT,
                }
            ],
            "description": TEXT,
            "type": TEXT,
        }
    ],
    "class": CODED,
    "contactDetails": {
        "email": TEXT,
        "faxNumber": TEXT,
        "telephoneNumber": TEXT,
        "websiteURL": TEXT,
    },
    "disclosingEntityIndicator": FLAG,
    "includesNonBeneficiallyHeld": FLAG,
    "industryCodes": [CODED],
    "industryDeclarations": [
        {
            "description": TEXT,
            "language": TEXT,
        }
    ],
    "kycCustomerType": TEXT,
    "lastCheckDate": TEXT,
    "legalFormDetails": {
        "basis": TEXT,
        "capital": TEXT,
        "comments": TEXT,
        "control": TEXT,
        "incorp": TEXT,
        "partner": TEXT,
        "responsibility": TEXT,
        "stocks": TEXT,
    },
    "normalisedLegalStatus": TEXT,
    "ownershipResolved": FLAG,
    "registeredName": TEXT,
    "registration": {
        "countryIso": TEXT,
        "date": TEXT,
        "number": TEXT,
        "previousNumber": TEXT,
        "registryCode": TEXT,
        "registryDescription": TEXT,
        "state": TEXT,
        "unstructuredDate": TEXT,
        "unstructuredFoundationDate": TEXT,
    },
    "registries": {
        "abr": {
            "abn": TEXT,
            "acn": TEXT,
            "addresses": [
                {
                    "effectiveFrom": TEXT,
                    "effectiveTo": TEXT,
                    "postcode": TEXT,
                    "stateCode": TEXT,
                }
            ],
            "businessNames": [
                {
                    "effectiveFrom": TEXT,
                    "effectiveTo": TEXT,
                    "name": TEXT,
                    "type": TEXT,
                }
            ],
            "charityEndorsements": [
                {
                    "effectiveFrom": TEXT,
                    "effectiveTo": TEXT,
                    "type": TEXT,
                }
            ],
            "charityTypes": [
                {
                    "description": TEXT,
                    "effectiveFrom": TEXT,
                    "effectiveTo": TEXT,
                }
            ],
            "description": TEXT,
            "dgrEndorsements": [
                {
                    "endorsedFrom": TEXT,
                    "endorsedTo": TEXT,
                }
            ],
            "gst": [
                {
                    "effectiveFrom": TEXT,
                    "effectiveTo": TEXT,
                }
            ],
            "historicalChanges": [
                {
                    "businessName": [TEXT],
                    "date": TEXT,
                    "entityStatus": [TEXT],
                    "goodsAndServicesTax": [TEXT],
                    "mainBusinessPhysicalAddress": [TEXT],
                    "mainName": [TEXT],
                    "mainTradingName": [TEXT],
                }
            ],
            "lastUpdated": TEXT,
            "name": TEXT,
            "registeredDate": TEXT,
            "status": TEXT,
            "statusEffectiveFrom": TEXT,
            "type": TEXT,
            "typeCode": TEXT,
            "updatedDate": TEXT,
        },
    },
    "reviewDate": TEXT,
    "shareStructure": [
        {
            "amountDue": NUMBER,
            "amountPaid": NUMBER,
            "classCode": TEXT,
            "classTitle": TEXT,
            "docNumber": TEXT,
            "docNumberQualifier": TEXT,
            "sharesIssued": NUMBER,
            "status": TEXT,
        }
    ],
    "startDate": TEXT,
    "status": CODED,
    "subType": CODED,
    "subclass": CODED,
    "type": CODED,
}


EXTRA_DATA = Parameter("extraData", Type.RECORDS, fields=_texts("kvpKey kvpType kvpValue"))
SCANS = Parameter(
    "docScan",
    Type.RECORDS,
    fields=(
        *_flags("ScanDelete"),
        *_texts("scanCreated scanData scanDataRetrievalState scanDocId scanFilename scanMIME"),
        Parameter("scanPageNum", Type.INTEGER),
        *_texts("scanSide scanType"),
    ),
)
ENTITY = (
    Parameter(
        "addresses",
        Type.RECORDS,
        fields=(
            *_texts("addressId addressType buildingName careOf country endDate"),
            EXTRA_DATA,
            *_texts("longForm postalCode region startDate state streetName streetNumber streetType suburb town"),
            *_texts("unitNumber unstructuredLongForm"),
        ),
        filled="one RESIDENTIAL1 address whose longForm is " + PERSONAL.format("address"),
    ),
    Parameter(
        "dateOfBirth",
        Type.OBJECT,
        fields=(
            _text("country"),
            Parameter(
                "dateOfBirth",
                Type.DATE,
                source="the format is from the documentation",
                filled=PERSONAL.format("date_of_birth"),
            ),
            *_texts("locality unstructuredDateOfBirth yearOfBirth"),
        ),
    ),
    Parameter("entityId", Type.TEXT, instead="it is filled from the column entity_id, or from an earlier answer"),
    _text("entityProfile"),
    _text("entityType", "INDIVIDUAL"),
    Parameter(
        "extraData",
        Type.RECORDS,
        fields=EXTRA_DATA.fields,
        filled="customer_reference with customer_id, consent.general if consent is true; given values are added",
    ),
    Parameter("flags", Type.RECORDS, fields=(_text("flag"), Parameter("value", Type.INTEGER))),
    _text("gender", PERSONAL.format("sex") + ": M or F"),
    Parameter(
        "identityDocs",
        Type.RECORDS,
        fields=(
            _text("country"),
            *_flags("createdFromScan"),
            SCANS,
            *_texts("documentId documentStatus"),
            EXTRA_DATA,
            *_texts("idExpiry idIssued idNumber idSubType idType"),
            *_flags("manuallyModified"),
            _text("region"),
        ),
    ),
    Parameter(
        "name",
        Type.OBJECT,
        fields=(
            _text("displayName"),
            _text("familyName", NAMED.format("last_name")),
            _text("givenName", NAMED.format("first_name")),
            *_texts("honourific middleName"),
        ),
    ),
    shaped("organisationData", ORGANISATION),
)
PARAMETERS = (
    APPLICANT,
    APPLICATION,
    Parameter(
        "consent",
        Type.BOOLEAN,
        default="false",
        instead="it is sent only if the column consent is true: only the person can give consent",
    ),
    COUNTRY,
    DOCUMENT_TYPE,
    Parameter("entity", Type.OBJECT, fields=ENTITY),
    REFERRER,
    RELAY,
)
