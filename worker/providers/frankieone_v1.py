"""FrankieOne v1: POST /idv/v2/idvalidate/token, with the customer mapped into `entity`. Facts:
docs/providers/frankieone-v1.md. The path has v2, but the API family is v1. A call without an `entityId` creates an
entity, and two such calls may create two. So only a call with an `entityId` is repeated."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from onboarding_worker.adapters.bodies import BadAnswer, json_body, merged, optional_text
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.providers.contract import Endpoint, HttpRequest, Table
from onboarding_worker.providers.frankieone import FACTS, FrankieEndpoint, check_entity, entity_id_of
from onboarding_worker.providers.parameters import by_name
from onboarding_worker.providers.parameters.frankieone import V1, V1_EFFECTS
from onboarding_worker.providers.webhooks.frankieone import FrankieOneWebhooks

PATH = "/idv/v2/idvalidate/token"
# The entity can then be found by our own id. Webhooks return it as entityCustomerReference.
CUSTOMER_REFERENCE = ("customer_reference", "id.external")
CONSENT = ("consent.general", "general.bool")


class FrankieOneV1(FrankieEndpoint):
    """One account's IDV tokens. Raises AccountUnusable if its settings make every session unusable."""

    no_look_up = "FrankieOne documents no list of its tokens"

    def __init__(self, account: AccountSettings) -> None:
        super().__init__(account)
        self._url = self._base_url + PATH

    def build(self, request: SessionRequest) -> HttpRequest:
        customer = request.customer
        ours = self._filled(request)
        ours["entity"] = {"entityType": "INDIVIDUAL", **self._prefill(customer.person)}
        fields = merged(ours, self._account.parameters, request.parameters, self._account.unchecked)
        entity = fields["entity"]
        if isinstance(entity, dict):  # an `unchecked` entity of another type is sent unchanged
            if entity_id := entity_id_of(request):
                entity["entityId"] = entity_id
            given = entity.get("extraData")
            known = [(*CUSTOMER_REFERENCE, customer.customer_id)]
            known += [(*CONSENT, "true")] if customer.consent is True else []
            pairs = [{"kvpKey": key, "kvpValue": value, "kvpType": kind} for key, kind, value in known]
            entity["extraData"] = [*pairs, *(given if isinstance(given, list | tuple) else ())]
        if customer.consent is True:  # sent only if the customer's own line has it
            fields["consent"] = True
        return HttpRequest("POST", self._url, self.headers(), json_body(fields))

    def repeatable(self, request: SessionRequest) -> bool:
        # With an entityId the worst case is one more token; without it, a second entity of the same person.
        return bool(entity_id_of(request))

    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        entity = found.get("entity")
        entity_id = optional_text(entity, "entityId") if isinstance(entity, Mapping) else ""
        if sent := entity_id_of(request):
            check_entity(entity_id, sent)
        # The page marks no field of the answer as required. Without an entity, the vendor's applicant finds the person.
        reference = entity_id or optional_text(found, "applicantId")
        if not reference:
            raise BadAnswer("the answer has no entity.entityId")
        return self._of_token(found, request, issued_at, reference=reference, entity_id=entity_id)

    def _prefill(self, person: Person) -> dict[str, Any]:
        """The person's known fields that the configuration allows us to send. The model has no email or phone."""
        if self._account.prefill == "none":
            return {}
        name = {"givenName": person.first_name, "familyName": person.last_name}
        entity: dict[str, Any] = {"name": {part: value for part, value in name.items() if value}}
        if self._account.prefill == "all":
            if person.date_of_birth:
                entity["dateOfBirth"] = {"dateOfBirth": person.date_of_birth.isoformat()}
            sex = person.sex.upper()
            entity["gender"] = sex if sex in ("M", "F") else ""  # no third code is documented
            if person.address:  # as one string: its parts are not known
                entity["addresses"] = [{"addressType": "RESIDENTIAL1", "longForm": person.address}]
        return {field: value for field, value in entity.items() if value}


ENDPOINT = Endpoint(
    # The call creates the entity that is verified: without data there is nothing to verify. Each call makes a session.
    facts=replace(FACTS, prefill="all", needs_name=True, opens_early=True),
    adapter=FrankieOneV1,
    parameters=(Table(by_name(*V1), V1_EFFECTS),),
    webhooks=FrankieOneWebhooks,
)
