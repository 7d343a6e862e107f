"""The shape of FrankieOne v1's token request, as in the page's sample, and a check for it.

The page has no schema and marks no field as required. Names that the sample does not have are accepted, as at the
provider's other endpoint.
"""

from collections.abc import Iterator
from typing import Any

# A type; a list with the shape of its items; or the members of an object.
Shape = type | list["Shape"] | dict[str, "Shape"]

KVP: Shape = {
    "kvpKey": str,
    "kvpType": str,
    "kvpValue": str,
}
CODED: Shape = {
    "code": str,
    "description": str,
}
ORGANISATION: Shape = {
    "adverseCreditDataPresent": bool,
    "aliases": [str],
    "blockingReasons": [
        {
            "candidates": [
                {
                    "address": str,
                    "code": str,
                    "countryIso": str,
                    "registeredName": str,
                    "registryDescription": str,
                    "subdivision": str,
                }
            ],
            "description": str,
            "type": str,
        }
    ],
    "class": CODED,
    "contactDetails": {
        "email": str,
        "faxNumber": str,
        "telephoneNumber": str,
        "websiteURL": str,
    },
    "disclosingEntityIndicator": bool,
    "includesNonBeneficiallyHeld": bool,
    "industryCodes": [CODED],
    "industryDeclarations": [
        {
            "description": str,
            "language": str,
        }
    ],
    "kycCustomerType": str,
    "lastCheckDate": str,
    "legalFormDetails": {
        "basis": str,
        "capital": str,
        "comments": str,
        "control": str,
        "incorp": str,
        "partner": str,
        "responsibility": str,
        "stocks": str,
    },
    "normalisedLegalStatus": str,
    "ownershipResolved": bool,
    "registeredName": str,
    "registration": {
        "countryIso": str,
        "date": str,
        "number": str,
        "previousNumber": str,
        "registryCode": str,
        "registryDescription": str,
        "state": str,
        "unstructuredDate": str,
        "unstructuredFoundationDate": str,
    },
    "registries": {
        "abr": {
            "abn": str,
            "acn": str,
            "addresses": [
                {
                    "effectiveFrom": str,
                    "effectiveTo": str,
                    "postcode": str,
                    "stateCode": str,
                }
            ],
            "businessNames": [
                {
                    "effectiveFrom": str,
                    "effectiveTo": str,
                    "name": str,
                    "type": str,
                }
            ],
            "charityEndorsements": [
                {
                    "effectiveFrom": str,
                    "effectiveTo": str,
                    "type": str,
                }
            ],
            "charityTypes": [
                {
                    "description": str,
                    "effectiveFrom": str,
                    "effectiveTo": str,
                }
            ],
            "description": str,
            "dgrEndorsements": [
                {
                    "endorsedFrom": str,
                    "endorsedTo": str,
                }
            ],
            "gst": [
                {
                    "effectiveFrom": str,
                    "effectiveTo": str,
                }
            ],
            "historicalChanges": [
                {
                    "businessName": [str],
                    "date": str,
                    "entityStatus": [str],
                    "goodsAndServicesTax": [str],
                    "mainBusinessPhysicalAddress": [str],
                    "mainName": [str],
                    "mainTradingName": [str],
                }
            ],
            "lastUpdated": str,
            "name": str,
            "registeredDate": str,
            "status": str,
            "statusEffectiveFrom": str,
            "type": str,
            "typeCode": str,
            "updatedDate": str,
        },
    },
    "reviewDate": str,
    "shareStructure": [
        {
            "amountDue": float,
            "amountPaid": float,
            "classCode": str,
            "classTitle": str,
            "docNumber": str,
            "docNumberQualifier": str,
            "sharesIssued": float,
            "status": str,
        }
    ],
    "startDate": str,
    "status": CODED,
    "subType": CODED,
    "subclass": CODED,
    "type": CODED,
}
ENTITY: dict[str, Shape] = {
    "addresses": [
        {
            "addressId": str,
            "addressType": str,
            "buildingName": str,
            "careOf": str,
            "country": str,
            "endDate": str,
            "extraData": [KVP],
            "longForm": str,
            "postalCode": str,
            "region": str,
            "startDate": str,
            "state": str,
            "streetName": str,
            "streetNumber": str,
            "streetType": str,
            "suburb": str,
            "town": str,
            "unitNumber": str,
            "unstructuredLongForm": str,
        }
    ],
    "dateOfBirth": {
        "country": str,
        "dateOfBirth": str,
        "locality": str,
        "unstructuredDateOfBirth": str,
        "yearOfBirth": str,
    },
    "entityId": str,
    "entityProfile": str,
    "entityType": str,
    "extraData": [KVP],
    "flags": [
        {
            "flag": str,
            "value": int,
        }
    ],
    "gender": str,
    "identityDocs": [
        {
            "country": str,
            "createdFromScan": bool,
            "docScan": [
                {
                    "ScanDelete": bool,
                    "scanCreated": str,
                    "scanData": str,
                    "scanDataRetrievalState": str,
                    "scanDocId": str,
                    "scanFilename": str,
                    "scanMIME": str,
                    "scanPageNum": float,
                    "scanSide": str,
                    "scanType": str,
                }
            ],
            "documentId": str,
            "documentStatus": str,
            "extraData": [KVP],
            "idExpiry": str,
            "idIssued": str,
            "idNumber": str,
            "idSubType": str,
            "idType": str,
            "manuallyModified": bool,
            "region": str,
        }
    ],
    "name": {
        "displayName": str,
        "familyName": str,
        "givenName": str,
        "honourific": str,
        "middleName": str,
    },
    "organisationData": ORGANISATION,
}
REQUEST: dict[str, Shape] = {
    "applicantId": str,
    "applicationId": str,
    "consent": bool,
    "country": str,
    "documentType": str,
    "entity": ENTITY,
    "referrer": str,
    "relayState": str,
}
WORDS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def wrong_types(value: Any, shape: Shape, at: str) -> Iterator[tuple[str, str]]:
    """The place and the expected type of every part of `value` that does not have the shape."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield at, "object"
            return
        for name, inner in value.items():
            if name in shape:
                yield from wrong_types(inner, shape[name], f"{at}.{name}" if at else name)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield at, "array"
            return
        for place, inner in enumerate(value):
            yield from wrong_types(inner, shape[0], f"{at}.{place}")
    elif not _is(value, shape):
        yield at, WORDS[shape]


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind
