"""FrankieOne v1: the shape of `entity.organisationData`, from the page's sample.

We fill none of it, because the endpoint verifies people. It can be given, and must have the sample's types.
"""

from worker.providers.parameters.spec import Parameter, Type

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
