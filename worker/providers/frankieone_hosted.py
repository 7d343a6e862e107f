"""FrankieOne KYC v2, a page at FrankieOne for one person: POST /v2/individuals/hostedurl.

Facts: docs/providers/frankieone-hosted.md. Every call makes a new address with its own expiry, and no charge is
documented. FrankieOne finds the entity by its id, or by our own id of the customer; if there is none, it creates one.
So a call with an unknown outcome is simply made again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from onboarding_worker.adapters.bodies import LONGEST_TOKEN, BadAnswer, json_body, merged, optional_text, text
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import Endpoint, HttpRequest, Table
from onboarding_worker.providers.frankieone import FACTS, FrankieEndpoint, check_entity, entity_id_of, expiry
from onboarding_worker.providers.parameters import by_name
from onboarding_worker.providers.parameters.effects import Effect, effects
from onboarding_worker.providers.values import Parameter, Type
from onboarding_worker.providers.webhooks.frankieone import FrankieOneWebhooks

BEFORE = "/v2/individuals/"
# The last part of the path: FrankieOne's page writes it small, its public clients do not.
SPELLINGS = ("hostedurl", "hostedUrl")
OUR_MESSAGE = "the worker sends the message"
PARAMETERS = (
    Parameter("entityId", Type.TEXT, instead="it is filled from the column entity_id"),
    Parameter("customerRef", Type.TEXT, instead="it is filled from the column customer_id"),
    Parameter("consent", Type.BOOLEAN, instead="it is filled from the column consent"),
    Parameter("oneSDKFlowId", Type.TEXT, 1, default="the account's default flow"),
    Parameter("successRedirectURL", Type.URL),
    Parameter("errorRedirectURL", Type.URL),
    Parameter("applicationRef", Type.TEXT, 1, filled="column external_ref, else the job's id"),
    Parameter("channelRef", Type.TEXT, 1),
    Parameter("requestedDocuments", Type.LIST, 1),
    Parameter("optionalDocuments", Type.LIST, 1),
    Parameter("partialDocuments", Type.LIST, 1),
    Parameter("sendSMS", Type.BOOLEAN, instead=OUR_MESSAGE, filled="false"),
    Parameter("phoneNumber", Type.TEXT, instead=OUR_MESSAGE),
    Parameter("phoneCode", Type.TEXT, instead=OUR_MESSAGE),
    Parameter("recipientName", Type.TEXT, instead=OUR_MESSAGE),
)
# What each can do to the check, by FrankieOne's pages; names without words are read as what they say.
EFFECTS = effects(
    (Effect.PLAIN, "entityId customerRef applicationRef channelRef", "names of ours, for tracing"),
    (Effect.ADDRESS, "successRedirectURL errorRedirectURL", "where the customer is redirected"),
    (Effect.WEAKENS, "oneSDKFlowId", "the flow: which steps there are"),
    (Effect.WEAKENS, "requestedDocuments optionalDocuments partialDocuments", "which documents are asked for"),
    (Effect.WEAKENS, "consent", "the person's consent"),
    (Effect.ADDRESS, "sendSMS phoneNumber phoneCode recipientName", "to whom FrankieOne sends the link"),
)


class FrankieOneHosted(FrankieEndpoint):
    """One account's hosted addresses. Raises AccountUnusable if its settings make every session unusable."""

    no_look_up = "FrankieOne documents no list of its hosted addresses, and another one costs nothing"

    def __init__(self, account: AccountSettings) -> None:
        if account.dialect not in SPELLINGS:
            raise AccountUnusable(account.name, "dialect", f"expected one of {', '.join(SPELLINGS)}")
        if not account.link_hosts:
            raise AccountUnusable(account.name, "link_hosts", "name the host of the addresses that FrankieOne gives")
        super().__init__(account, links_are_given=True)
        self._url = self._base_url + BEFORE + account.dialect

    def build(self, request: SessionRequest) -> HttpRequest:
        customer, entity_id = request.customer, entity_id_of(request)
        ours: dict[str, Any] = {"applicationRef": request.external_ref} if request.external_ref else {}
        fields = merged(ours, self._account.parameters, request.parameters, self._account.unchecked)
        fields |= {"entityId": entity_id} if entity_id else {"customerRef": customer.customer_id}
        fields["sendSMS"] = False
        if customer.consent is True:  # sent only if the customer's own line has it
            fields["consent"] = True
        return HttpRequest("POST", self._url, self.headers(), json_body(fields))

    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        url = text(found, "url", most=LONGEST_TOKEN)
        if self._links.given(url) is None:
            raise BadAnswer("url in the answer is not an https address of a host in link_hosts")
        entity_id = optional_text(found, "entityId")
        if sent := entity_id_of(request):
            check_entity(entity_id, sent)
        reference = entity_id or optional_text(found, "requestId")
        if not reference:
            raise BadAnswer("the answer has no entityId")
        return self.made(
            request,
            "url",
            url,
            reference=reference,
            ends=expiry(found.get("urlExpiry"), issued_at),
            references={"entityId": entity_id, "requestId": optional_text(found, "requestId")},
            link=None if self._account.link else url,
        )


ENDPOINT = Endpoint(
    facts=replace(
        FACTS,
        opens_early=True,  # each call makes its own session
        keys=(*FACTS.keys, "dialect"),
        needs={
            "customer_id": "",
            "link_hosts": "FrankieOne documents no host of the addresses that it gives; name the one of your account",
        },
        answers=(),
        dialects=SPELLINGS,
    ),
    adapter=FrankieOneHosted,
    parameters=(Table(by_name(*PARAMETERS), EFFECTS),),
    webhooks=FrankieOneWebhooks,
)
