"""`onboard doctor` asks the identity provider for what a log-in needs."""

import pytest
from aiohttp import web

from tests.desk.desk import Desk
from tests.desk.listener import Listener
from tests.suite.of_features import needs


@needs("doctor")
@pytest.mark.parametrize(
    ("named", "keys", "says"),
    [
        ("", [{"kty": "RSA"}], "answers, with 1 key; redirect URI https://onboard.example.com/dashboard/oidc"),
        ("/other", [], "its discovery document names another issuer"),
        ("", [], "it has no keys"),
    ],
)
def test_the_identity_provider_of_the_dashboard_is_asked_for_its_discovery_document(desk: Desk, named, keys, says):
    async def answer(request: web.Request) -> web.Response:
        url = f"http://{request.host}"
        found = {"issuer": url + named, "authorization_endpoint": f"{url}/a", "token_endpoint": f"{url}/t"}
        return web.json_response({"keys": keys} if request.path == "/k" else found | {"jwks_uri": f"{url}/k"})

    listener = Listener(answer)
    issuer = listener.url.removesuffix("/hooks")
    desk.add(
        f'[oidc]\nissuer = "{issuer}"\nclient_id = "onboarding"\nbase_url = "https://onboard.example.com"\n'
        'roles = { operator = ["kyc-operators"] }\n'
    )
    (found,) = (one for one in desk.onboard("doctor", "--json").facts["findings"] if one["what"] == "oidc")
    listener.close()
    assert found["grade"] == ("ok" if says.startswith("answers") else "failure")
    assert says in found["found"]
    assert issuer.removeprefix("http://") in found["found"]
