"""Simulates FrankieOne v1: the token call, which creates or updates its entity.

Source: the provider's page "Retrieve a token to use with a check", and its v1 pages on errors and entities. Every
call gives a new token; a call without an entityId creates one more entity.
"""

from copy import deepcopy
from datetime import datetime
from typing import Any
from uuid import uuid4

from onboarding_sandbox.endpoints.frankieone import FrankieOne, Shape, chosen, members, read_body, unknown_choices
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import FRANKIEONE_V1, Answer, Call, read_object, text_or_none

# The shape of a request, as in the page's sample: the page has no schema, and marks no field as required.
KVP = members("kvpKey kvpType kvpValue")
CODED = members("code description")
REGISTRY: dict[str, Shape] = {
    **members("abn acn description lastUpdated name registeredDate status statusEffectiveFrom"),
    **members("type typeCode updatedDate"),
    "addresses": [members("effectiveFrom effectiveTo postcode stateCode")],
    "businessNames": [members("effectiveFrom effectiveTo name type")],
    "charityEndorsements": [members("effectiveFrom effectiveTo type")],
    "charityTypes": [members("description effectiveFrom effectiveTo")],
    "dgrEndorsements": [members("endorsedFrom endorsedTo")],
    "gst": [members("effectiveFrom effectiveTo")],
    "historicalChanges": [
        {
            "date": str,
            **members("businessName entityStatus goodsAndServicesTax", [str]),
            **members("mainBusinessPhysicalAddress mainName mainTradingName", [str]),
        }
    ],
}
ORGANISATION: dict[str, Shape] = {
    **members("kycCustomerType lastCheckDate normalisedLegalStatus registeredName reviewDate startDate"),
    **members("adverseCreditDataPresent disclosingEntityIndicator includesNonBeneficiallyHeld ownershipResolved", bool),
    **members("class status subType subclass type", CODED),
    "aliases": [str],
    "blockingReasons": [
        {
            **members("description type"),
            "candidates": [members("address code countryIso registeredName registryDescription subdivision")],
        }
    ],
    "contactDetails": members("email faxNumber telephoneNumber websiteURL"),
    "industryCodes": [CODED],
    "industryDeclarations": [members("description language")],
    "legalFormDetails": members("basis capital comments control incorp partner responsibility stocks"),
    "registration": {
        **members("countryIso date number previousNumber registryCode registryDescription state"),
        **members("unstructuredDate unstructuredFoundationDate"),
    },
    "registries": {"abr": REGISTRY},
    "shareStructure": [
        {
            **members("classCode classTitle docNumber docNumberQualifier status"),
            **members("amountDue amountPaid sharesIssued", float),
        }
    ],
}
ENTITY: dict[str, Shape] = {
    **members("entityId entityProfile entityType gender"),
    "addresses": [
        {
            **members("addressId addressType buildingName careOf country endDate longForm postalCode region startDate"),
            **members("state streetName streetNumber streetType suburb town unitNumber unstructuredLongForm"),
            "extraData": [KVP],
        }
    ],
    "dateOfBirth": members("country dateOfBirth locality unstructuredDateOfBirth yearOfBirth"),
    "extraData": [KVP],
    "flags": [{"flag": str, "value": int}],
    "identityDocs": [
        {
            **members("country documentId documentStatus idExpiry idIssued idNumber idSubType idType region"),
            **members("createdFromScan manuallyModified", bool),
            "docScan": [
                {
                    **members("scanCreated scanData scanDataRetrievalState scanDocId scanFilename scanMIME scanSide"),
                    "ScanDelete": bool,
                    "scanPageNum": float,
                    "scanType": str,
                }
            ],
            "extraData": [KVP],
        }
    ],
    "name": members("displayName familyName givenName honourific middleName"),
    "organisationData": ORGANISATION,
}
REQUEST: dict[str, Shape] = {
    **members("applicantId applicationId country documentType referrer relayState"),
    "consent": bool,
    "entity": ENTITY,
}


class IdvalidateToken(FrankieOne):
    """POST /idv/v2/idvalidate/token: the path says v2, the API family is the first."""

    name = FRANKIEONE_V1
    route = "/frankieone/idv/v2/idvalidate/token"

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options)
        self.entities: dict[str, dict[str, Any]] = {}  # by entityId, as last sent

    def reset(self) -> None:
        self.entities.clear()

    def error(self, status: int, code: str, message: str, issues: list[dict[str, str]], now: datetime) -> Answer:
        """An error in the form of this API family: its issues are not called details."""
        answer = super().error(status, code, message, issues, now)
        facts = {"commit": "sandbox", "httpStatusCode": status, "requestId": answer.reference}
        answer.body = {**facts, "errorCode": code, "errorMsg": message, "issues": issues}
        return answer

    def client(self, call: Call) -> str | None:
        """The caller's own id for the person, if the call has one; else the entity's."""
        entity = read_object(call.body).get("entity")
        return _client(entity) if isinstance(entity, dict) else None

    def answer(self, call: Call) -> Answer:
        body, issues = read_body(call, REQUEST)
        issues += unknown_choices(body)
        if issues:
            return self.wrong(issues, call)
        given = body.get("entity", {})
        entity_id = given.get("entityId") or str(uuid4())
        if entity_id.lower() in self._unknown:
            return self.not_found("entity.entityId", call.now)
        entity = self.entities[entity_id] = {**deepcopy(given), "entityId": entity_id}
        token = self.token(body, "sms_sent", call.now + self._options.frankieone_lifetime)
        client, printed = _client(entity), token | {"entity": entity} | chosen(body)
        return Answer(200, printed, processed=True, client=client, reference=entity_id, token=token["token"])


def _client(entity: dict[str, Any]) -> str | None:
    pairs = entity.get("extraData")
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, dict) and pair.get("kvpKey") == "customer_reference":
            return text_or_none(pair.get("kvpValue"))
    return text_or_none(entity.get("entityId"))
