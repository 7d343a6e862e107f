"""FrankieOne KYC v2: POST /v2/individuals/{entityId}/actions/idv/token. Facts: docs/providers/frankieone-v2.md. A call
for an entity with an unexpired token returns that token. So a call with an unknown outcome is simply made again, and no
Problem here is UNKNOWN."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from onboarding_worker.adapters.bodies import json_body, merged
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.model.customers import Customer, CustomerKind, FieldProblem
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.providers.contract import Endpoint, HttpRequest, Table
from onboarding_worker.providers.frankieone import FACTS, FrankieEndpoint, check_entity, entity_id_of
from onboarding_worker.providers.parameters import by_name
from onboarding_worker.providers.parameters.frankieone import V2, V2_EFFECTS
from onboarding_worker.providers.values import UUID
from onboarding_worker.providers.webhooks.frankieone import FrankieOneWebhooks

PATH = "/v2/individuals/{entity_id}/actions/idv/token"


class FrankieOneV2(FrankieEndpoint):
    """One account's IDV tokens. Raises AccountUnusable if its settings make every session unusable."""

    no_look_up = "not needed: the same call returns the same token"
    may_return_earlier = True

    def __init__(self, account: AccountSettings) -> None:
        super().__init__(account)
        self._before, self._after = (self._base_url + PATH).rsplit("{entity_id}", 1)

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        refused = super().refuses(customer)
        if customer.kind is CustomerKind.COMPANY:
            return refused
        if not customer.entity_id:
            missing = "add the customer's FrankieOne entity, or change the route"
            return [FieldProblem("entity_id", "is missing", missing), *refused]
        if not re.fullmatch(UUID, customer.entity_id):
            return [FieldProblem("entity_id", "is not a uuid", "FrankieOne's entityId, 36 characters"), *refused]
        return refused

    def build(self, request: SessionRequest) -> HttpRequest:
        entity_id = entity_id_of(request)
        ours = self._filled(request)
        fields = merged(ours, self._account.parameters, request.parameters, self._account.unchecked)
        url = f"{self._before}{quote(entity_id, safe='')}{self._after}"
        return HttpRequest("POST", url, self.headers(), json_body(fields))

    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        entity_id = entity_id_of(request)
        if found.get("entityId") is not None:  # no page documents it
            check_entity(found["entityId"], entity_id)
        return self._of_token(found, request, issued_at, reference=entity_id, entity_id=entity_id)


ENDPOINT = Endpoint(
    facts=FACTS,  # not `opens_early`: before the expiry, a call returns the same token
    adapter=FrankieOneV2,
    parameters=(Table(by_name(*V2), V2_EFFECTS),),
    webhooks=FrankieOneWebhooks,
)
