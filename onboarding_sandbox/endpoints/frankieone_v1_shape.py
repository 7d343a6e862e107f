"""The shape of FrankieOne v1's token request, as in the page's sample, and a check for it.

The page has no schema and marks no field as required. Names that the sample does not have are accepted, as at the
provider's other endpoint.
"""

from collections.abc import Iterator
from typing import Any

# A type; a list with the shape of its items; or the members of an object.
Shape = type | list["Shape"] | dict[str, "Shape"]


def _members(names: str, shape: Shape = str) -> dict[str, Shape]:
    """Members of one shape; most are strings."""
    return dict.fromkeys(names.split(), shape)


KVP = _members("kvpKey kvpType kvpValue")
CODED = _members("code description")
REGISTRY: dict[str, Shape] = {
    **_members("abn acn description lastUpdated name registeredDate status statusEffectiveFrom"),
    **_members("type typeCode updatedDate"),
    "addresses": [_members("effectiveFrom effectiveTo postcode stateCode")],
    "businessNames": [_members("effectiveFrom effectiveTo name type")],
    "charityEndorsements": [_members("effectiveFrom effectiveTo type")],
    "charityTypes": [_members("description effectiveFrom effectiveTo")],
    "dgrEndorsements": [_members("endorsedFrom endorsedTo")],
    "gst": [_members("effectiveFrom effectiveTo")],
    "historicalChanges": [
        {
            "date": str,
            **_members("businessName entityStatus goodsAndServicesTax", [str]),
            **_members("mainBusinessPhysicalAddress mainName mainTradingName", [str]),
        }
    ],
}
ORGANISATION: dict[str, Shape] = {
    **_members("kycCustomerType lastCheckDate normalisedLegalStatus registeredName reviewDate startDate"),
    **_members(
        "adverseCreditDataPresent disclosingEntityIndicator includesNonBeneficiallyHeld ownershipResolved", bool
    ),
    **_members("class status subType subclass type", CODED),
    "aliases": [str],
    "blockingReasons": [
        {
            **_members("description type"),
            "candidates": [_members("address code countryIso registeredName registryDescription subdivision")],
        }
    ],
    "contactDetails": _members("email faxNumber telephoneNumber websiteURL"),
    "industryCodes": [CODED],
    "industryDeclarations": [_members("description language")],
    "legalFormDetails": _members("basis capital comments control incorp partner responsibility stocks"),
    "registration": {
        **_members("countryIso date number previousNumber registryCode registryDescription state"),
        **_members("unstructuredDate unstructuredFoundationDate"),
    },
    "registries": {"abr": REGISTRY},
    "shareStructure": [
        {
            **_members("classCode classTitle docNumber docNumberQualifier status"),
            **_members("amountDue amountPaid sharesIssued", float),
        }
    ],
}
ENTITY: dict[str, Shape] = {
    **_members("entityId entityProfile entityType gender"),
    "addresses": [
        {
            **_members(
                "addressId addressType buildingName careOf country endDate longForm postalCode region startDate"
            ),
            **_members("state streetName streetNumber streetType suburb town unitNumber unstructuredLongForm"),
            "extraData": [KVP],
        }
    ],
    "dateOfBirth": _members("country dateOfBirth locality unstructuredDateOfBirth yearOfBirth"),
    "extraData": [KVP],
    "flags": [{"flag": str, "value": int}],
    "identityDocs": [
        {
            **_members("country documentId documentStatus idExpiry idIssued idNumber idSubType idType region"),
            **_members("createdFromScan manuallyModified", bool),
            "docScan": [
                {
                    **_members("scanCreated scanData scanDataRetrievalState scanDocId scanFilename scanMIME scanSide"),
                    "ScanDelete": bool,
                    "scanPageNum": float,
                    "scanType": str,
                }
            ],
            "extraData": [KVP],
        }
    ],
    "name": _members("displayName familyName givenName honourific middleName"),
    "organisationData": ORGANISATION,
}
REQUEST: dict[str, Shape] = {
    **_members("applicantId applicationId country documentType referrer relayState"),
    "consent": bool,
    "entity": ENTITY,
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
