"""What keys mean together: routes, lifetimes, budgets, the environment's overrides."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.cli.commands.serving import address
from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.core.rows.calls_in_doubt import UNKNOWN_FOR
from onboarding_worker.core.rules.limits import CreditCap, Limit
from onboarding_worker.core.rules.quiet_hours import QuietHours, allowed_at
from onboarding_worker.providers.facts import PROVIDERS, facts_of
from onboarding_worker.settings.rules import apart, lifetimes_unknown
from tests.settings.samples import loaded, problems, tree, with_value, without_credentials
from tests.suite.of_features import of_features

KYB = {"provider": "idenfy-kyb", "api_key": {"env": "IDENFY_KEY"}, "api_secret": {"env": "IDENFY_SECRET"}}


def with_kyb(kyc: dict[str, Any] | None = None, kyb: dict[str, Any] | None = None) -> dict[str, Any]:
    configuration = tree()
    configuration["accounts"]["kyc"] |= kyc or {}
    configuration["accounts"]["kyb"] = {**KYB, **(kyb or {})}
    return configuration


def test_accounts_with_the_same_host_and_credential_share_the_budget_of_the_first_by_name(tmp_path: Path) -> None:
    accounts = loaded(tmp_path, with_kyb()).accounts

    assert {name: account.budget for name, account in accounts.items()} == {"kyc": "kyb", "au": "au", "kyb": "kyb"}


@pytest.mark.parametrize("given", ["", 0, [], {}])
def test_an_empty_budget_is_a_problem_and_does_not_part_accounts(tmp_path: Path, given: Any) -> None:
    (line,) = problems(tmp_path, with_kyb(kyb={"budget": given}))
    assert line.startswith("accounts.kyb.budget: expected")


def test_templates_that_are_no_path_are_a_problem(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(invitations={"templates": "<p>Hello</p>" * 500}))
    assert line.startswith("invitations.templates: expected the path of a file or a directory")


def test_a_value_set_for_one_account_of_a_budget_holds_for_all(tmp_path: Path) -> None:
    shared = {"limits": ["7/second"], "credits": 10}
    for configuration in (with_kyb(kyc=shared), with_kyb(kyb=shared)):
        accounts = loaded(tmp_path, configuration).accounts

        for name in ("kyc", "kyb"):
            assert accounts[name].limits == (Limit.parse("7/second"),)
            assert accounts[name].credits == (CreditCap(10),)
            assert accounts[name].concurrency == 50


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [("limits", ["1/second"], ["2/second"]), ("burst", "0 s", "1 s"), ("concurrency", 1, 2), ("credits", 1, 2)],
)
def test_accounts_of_a_budget_that_disagree_are_a_problem(key: str, one: Any, other: Any, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_kyb(kyc={key: one}, kyb={key: other}))

    assert line.startswith(f"accounts.kyc.{key}: differs from accounts.kyb.{key}, but both share the budget `kyb`")
    assert problems(tmp_path, with_kyb(kyc={key: one}, kyb={key: one})) == []


def test_another_credential_or_another_host_is_another_budget(tmp_path: Path) -> None:
    by_key = loaded(tmp_path, with_kyb(kyb={"api_key": {"env": "FRANKIE_KEY"}})).accounts
    by_host = loaded(tmp_path, with_kyb(kyb={"base_url": "https://other.example.com"})).accounts

    assert by_key["kyb"].budget == "kyb"
    assert by_host["kyb"].budget == "kyb"


def test_a_named_budget_parts_and_joins(tmp_path: Path) -> None:
    parted = loaded(tmp_path, with_kyb(kyb={"budget": "own", "concurrency": 3})).accounts
    joined = with_kyb(kyc={"budget": "all"}, kyb={"budget": "all"})
    joined["accounts"]["au"]["budget"] = "all"
    by_account = with_value(("accounts", "au", "budget"), "kyc")

    assert (parted["kyb"].budget, parted["kyc"].budget) == ("own", "kyc")
    assert (parted["kyb"].concurrency, parted["kyc"].concurrency) == (3, 50)
    assert {account.budget for account in loaded(tmp_path, joined).accounts.values()} == {"all"}
    assert loaded(tmp_path, by_account).accounts["au"].limits == (Limit.parse("10000/hour"),)


def test_sandbox_accounts_of_two_providers_with_one_key_do_not_share(tmp_path: Path) -> None:
    configuration = with_value(("accounts", "au", "api_key"), {"env": "IDENFY_KEY"})
    for name in ("au", "kyc"):
        configuration["accounts"][name]["base_url"] = f"http://127.0.0.1:9200/{name}"

    accounts = loaded(tmp_path, configuration).accounts

    assert (accounts["kyc"].budget, accounts["au"].budget) == ("kyc", "au")


def test_a_route_to_an_unknown_account_names_the_nearest(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(routes=[{"accounts": ["kyc", "kyk"]}]))

    assert line == "routes[1].accounts[2]: no such account; did you mean `kyc`?"


def test_a_route_keeps_its_conditions(tmp_path: Path) -> None:
    when = {"country": ["AU", "NZL"], "entity_id": True, "kind": "individual", "consent": False}

    route = loaded(tmp_path, tree(routes=[{"when": when, "accounts": ["au"], "freshness": "1 hour"}])).routes[0]

    assert route.when == {**when, "country": ("AU", "NZL")}
    assert route.freshness == timedelta(hours=1)


def test_a_condition_that_could_never_fit_is_a_problem(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        ({"contry": "AU"}, "`contry`: no column that a route can test; did you mean `country`?"),
        ({"account": "kyc"}, "`account`: no column that a route can test"),
        ({"kind": "person"}, '`kind`: expected "individual" or "company"'),
        ({"country": "Australia"}, "`country`: expected a country's two or three letters"),
        ({"country": []}, "`country`: expected a value, a list of values, or true or false"),
        ({"tags": 5}, "`tags`: expected a value, a list of values, or true or false"),
    ]
    for when, part in cases:
        with subtests.test(when=when):
            (line,) = problems(tmp_path, tree(routes=[{"when": when, "accounts": ["kyc"]}]))

            assert line.startswith("routes[1].when: ")
            assert part in line


def test_a_floor_that_is_not_below_the_lifetime_stops_the_start(tmp_path: Path) -> None:
    def with_floor(floor: str, account: str = "kyc") -> dict[str, Any]:
        return tree(routes=[{"accounts": [account], "freshness": floor}])

    (line,) = problems(tmp_path, with_floor("7 days"))
    assert line.startswith('routes[1].freshness: expected less than "7 days", the lifetime of accounts.kyc')
    assert problems(tmp_path, with_floor("6 days")) == []
    assert problems(tmp_path, with_floor("8 days", "au")) == []


@pytest.mark.parametrize("where", ["parameters", "unchecked"])
def test_a_floor_is_compared_with_the_lifetime_that_a_parameter_asks_for(where: str, tmp_path: Path) -> None:
    configuration = tree(routes=[{"accounts": ["kyc"], "freshness": "1 hour"}])
    configuration["accounts"]["kyc"][where] = {"expiryTime": 3600}

    (line,) = problems(tmp_path, configuration)

    assert line.startswith('routes[1].freshness: expected less than "1 hour", the lifetime of accounts.kyc')


@pytest.mark.parametrize(("lifetime", "bound"), [("0 s", "at least"), ("500 ms", "at least"), ("31 days", "at most")])
def test_a_lifetime_is_within_what_the_provider_accepts(lifetime: str, bound: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_value(("accounts", "kyc", "lifetime"), lifetime))

    assert line.startswith(f"accounts.kyc.lifetime: expected {bound} ")


def test_a_lifetime_is_in_whole_seconds(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_value(("accounts", "kyc", "lifetime"), "90.5 s"))

    assert line == "accounts.kyc.lifetime: expected whole seconds"


def test_what_is_allowed_but_odd_is_a_warning(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        (("accounts", "kyc", "lifetime"), "59 s", "accounts.kyc.lifetime: below"),
        (("accounts", "au", "lifetime"), "7 days", "accounts.au.lifetime: not used"),
        (
            ("accounts", "kyc", "link"),
            "https://v.example.com/{token}/{digits}/{vendor.code}",
            "accounts.kyc.link: {vendor.code} is always empty: the provider's answers have no such value",
        ),
        (
            ("accounts", "au", "link"),
            "https://v.example.com/{token}/{provider}/{vendor.code}/{digits}",
            "accounts.au.link: {digits} is always empty",
        ),
        (
            ("routes",),
            [{"accounts": ["kyc"]}, {"accounts": ["au"]}],
            "routes[2]: never reached: routes[1] matches every",
        ),
        (("broker",), {"url": "amqp://h", "tls": "off"}, 'TLS is off for broker (tls = "off"): '),
    ]
    for path, value, warning in cases:
        with subtests.test(path=path):
            settings = loaded(tmp_path, with_value(path, value))

            (line,) = [one for one in settings.warnings if not one.startswith("follow_up.ladder")]
            assert line.startswith(warning)
            assert settings.accounts["au"].lifetime is None


def test_a_webhook_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    configuration = with_value(("accounts", "kyc", "webhook_keys"), [{"env": "KEY_OF_IDENFY"}])

    (line,) = problems(tmp_path, configuration, KEY_OF_IDENFY="fifteen-letters")

    assert line.startswith("accounts.kyc.webhook_keys: a key of less than 16 characters")
    assert problems(tmp_path, configuration, KEY_OF_IDENFY="sixteen-letters!") == []


def test_a_key_that_the_provider_has_no_use_for_is_a_mix_up(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        ("au", "api_secret", {"env": "IDENFY_SECRET"}),
        ("au", "webhook_keys", [{"env": "IDENFY_SECRET"}]),
        ("au", "dialect", "openapi"),
        ("kyc", "customer_id", "x"),
        ("kyc", "channel", "api"),
        ("kyc", "jwt_key", {"env": "IDENFY_SECRET"}),
    ]
    for account, key, value in cases:
        with subtests.test(account=account, key=key, value=value):
            (line,) = problems(tmp_path, with_value(("accounts", account, key), value))

            assert line.startswith(f"accounts.{account}.{key}: only for ")


@pytest.mark.parametrize(
    ("account", "key"), [("kyc", "api_secret"), ("au", "customer_id"), ("au", "link"), ("kyc", "api_key")]
)
def test_a_key_that_the_provider_needs_is_missed(account: str, key: str, tmp_path: Path) -> None:
    configuration = tree()
    del configuration["accounts"][account][key]

    (line,) = problems(tmp_path, configuration)

    assert line.startswith(f"accounts.{account}.{key}: missing")


EVENTS, HOOK = [{"env": "EVENTS_KEY"}], {"env": "IDENFY_WEBHOOK_KEY"}
LET_IN = {
    "events": (("web", "senders", "signup", "keys"), EVENTS),
    "webhooks": (("accounts", "kyc", "webhook_keys"), [HOOK]),
    "webhooks in a secret's place": (("accounts", "au", "webhook_secret"), {"env": "FRANKIE_CUSTOMER"}),
    **dict(of_features("LET_IN")),
}


def test_a_web_server_beyond_loopback_needs_credentials(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for somebody in LET_IN:
        with subtests.test(somebody=somebody):
            (tmp_path / "users.toml").write_text("# none yet\n")
            others = without_credentials(tree(web={"bind": "0.0.0.0:8080"}))
            (line,) = problems(tmp_path, others)
            assert line.startswith("web.bind: an address other than loopback needs credentials")
            assert problems(tmp_path, with_value(*LET_IN[somebody], others)) == []
            assert problems(tmp_path, without_credentials(tree(web={"bind": "localhost:8080"}))) == []


def test_the_same_rule_holds_for_the_option_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="--bind: an address other than loopback needs credentials"):
        address(loaded(tmp_path, without_credentials(tree(web={}))), "192.0.2.1:8080")
    settings = loaded(tmp_path, with_value(*LET_IN["webhooks"], without_credentials(tree())))
    assert address(settings, "192.0.2.1:8080") == ("192.0.2.1", 8080)


def test_a_fallback_needs_its_sender(tmp_path: Path) -> None:
    configuration = tree(invitations={"fallback": "sms"})
    assert problems(tmp_path, configuration) == []

    del configuration["sms"], configuration["whatsapp"]
    assert problems(tmp_path, configuration) == ["invitations.fallback: needs the section [sms]"]


def test_an_accounts_name_fits_into_an_address_and_a_queue(tmp_path: Path) -> None:
    configuration = tree()
    configuration["accounts"]["a b/c"] = configuration["accounts"]["kyc"]

    (line,) = problems(tmp_path, configuration)

    assert line.startswith('accounts."a b/c": expected a name of at most 63 letters')


def test_columns_map_to_ours_once(tmp_path: Path) -> None:
    def columns(**mapped: str) -> dict[str, Any]:
        return tree(**{"import": {"columns": mapped}})

    assert problems(tmp_path, columns(Mail="email", Docs="idenfy-kyc.documents")) == []
    assert problems(tmp_path, columns(Mail="emial")) == [
        "import.columns: `Mail`: no such column; did you mean `email`?"
    ]
    assert problems(tmp_path, columns(Mail="email", Post="email")) == [
        "import.columns: two columns of the list map to the same column of ours"
    ]


def test_the_environment_overrides_the_file_with_values_of_the_keys_own_kind(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        with_kyb(kyc={"concurrency": 1, "parameters": {"showInstructions": False}}),
        ONBOARDING__DATABASE__URL="postgresql+psycopg://u:p@127.0.0.1/db",
        ONBOARDING__ACCOUNTS__KYC__CONCURRENCY="20",
        onboarding__accounts__kyc__limits='["3/second"]',
        ONBOARDING__ACCOUNTS__KYC__API_KEY="other-key",
        ONBOARDING__ACCOUNTS__KYC__PARAMETERS__SHOWINSTRUCTIONS="true",
        ONBOARDING__ACCOUNTS__KYC__PARAMETERS__theme="dark",
        ONBOARDING__ACCOUNTS__AU__CHANNEL="123",
        ONBOARDING__ROUTES='[{"accounts": ["au"]}]',
        ONBOARDING__WORKER__LEASE="30 s",
        ONBOARDING__IMPORT__COLUMNS='{ Mail = "email" }',
        ONBOARDING__WEB__SENDERS__SIGNUP__KEYS='["event-key-of-thirty-two-characters"]',
        ONBOARDING__BUS__DECLARE="false",
    )
    account = settings.accounts["kyc"]

    assert settings.database.url == "postgresql+psycopg://u:p@127.0.0.1/db"
    assert (account.concurrency, account.limits) == (20, (Limit.parse("3/second"),))
    assert account.api_key.reveal() == "other-key"
    assert account.parameters == {"showInstructions": True, "theme": "dark"}
    assert settings.accounts["au"].channel == "123"
    assert [route.accounts for route in settings.routes] == [("au",)]
    assert settings.worker.lease == timedelta(seconds=30)
    assert settings.import_.columns == {"Mail": "email"}
    assert settings.web.senders["signup"].keys[0].reveal() == "event-key-of-thirty-two-characters"
    assert settings.bus is not None
    assert settings.bus.declare is False


@pytest.mark.parametrize(
    "variable", ["ONBOARDING__ACCOUNTS__KYC-EU__CONCURRENCY", "ONBOARDING__ACCOUNTS__KYC_EU__CONCURRENCY"]
)
def test_an_override_finds_a_name_with_a_dash(variable: str, tmp_path: Path) -> None:
    configuration = tree(routes=[{"accounts": ["au"]}])
    configuration["accounts"]["kyc-eu"] = configuration["accounts"].pop("kyc")

    assert loaded(tmp_path, configuration, **{variable: "7"}).accounts["kyc-eu"].concurrency == 7


def test_a_problem_with_an_override_names_the_variable(tmp_path: Path) -> None:
    lines = problems(tmp_path, tree(), ONBOARDING__WORKER__LEESE="1 s", ONBOARDING__ACCOUNTS__KYC__CONCURRENCY="many")

    assert lines == [
        "worker.leese: unknown key; did you mean `lease`? (set by ONBOARDING__WORKER__LEESE)",
        "accounts.kyc.concurrency: expected a whole number (set by ONBOARDING__ACCOUNTS__KYC__CONCURRENCY)",
    ]


def test_a_line_break_in_an_override_adds_no_key(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(), ONBOARDING__WEB__SENDERS__SIGNUP__KEYS='["a"]\nother = 1')

    assert line.startswith("web.senders.signup.keys: expected a list")


def test_a_batch_is_kept_as_long_as_an_unknown_outcome_may_have_left_a_session(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_value(("retention", "batches"), "29 days"))
    assert line.startswith("retention.batches:")
    assert "30 days" in line
    assert loaded(tmp_path, with_value(("retention", "batches"), "30 days")).retention.batches == UNKNOWN_FOR
    assert loaded(tmp_path, tree()).retention.batches is None


def with_hours(lifetime: str | None = None, **hours: str) -> dict[str, Any]:
    configuration = tree(invitations={"quiet_hours": hours})
    if lifetime:
        configuration["accounts"]["kyc"]["lifetime"] = lifetime
    return configuration


def test_quiet_hours_that_leave_next_to_none_to_send_in_are_a_mistake(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_hours(sms="08:00-07:00"))

    assert line.startswith('invitations.quiet_hours.sms: they leave only "1 hour" a day')
    assert problems(tmp_path, with_hours(sms="12:00-08:00")) == []  # twenty hours


def test_quiet_hours_of_two_channels_that_no_short_link_outlives_are_warned_of(tmp_path: Path) -> None:
    apart = {"sms": "12:00-08:00", "email": "20:00-16:00"}
    (warning,) = loaded(tmp_path, with_hours("6 hours", **apart)).warnings

    assert warning.startswith('invitations.quiet_hours: the hours of email and sms are "4 hours" apart')
    assert loaded(tmp_path, with_hours("12 hours", **apart)).warnings == ()
    assert loaded(tmp_path, with_hours("6 hours", sms="21:00-08:00", email="22:00-07:00")).warnings == ()


def test_a_reminder_sooner_than_a_minute_is_refused_with_the_files_own_units(tmp_path: Path) -> None:
    configuration = tree(follow_up={"reminders": ["30 s", "1 minute"]})
    assert problems(tmp_path, configuration) == ['follow_up.reminders[1]: expected at least "1 minute"']


@pytest.mark.parametrize(
    ("section", "value", "least"),
    [
        ("retention", {"audit": "3 days"}, 'retention.audit: expected at least "90 days"'),
        ("worker", {"lease": "0 s"}, 'worker.lease: expected at least "0.5 s"'),
        ("worker", {"lease": "2 hours"}, 'worker.lease: expected at most "1 hour"'),
    ],
)
def test_the_bound_of_a_duration_is_said_as_the_file_would_have_it(
    tmp_path: Path, section: str, value: dict[str, str], least: str
) -> None:
    assert problems(tmp_path, tree(**{section: value})) == [least]


def test_rows_that_name_none_have_the_country_and_the_language_of_their_list(tmp_path):
    given = {"country": "DE", "locale": "de"}
    assert loaded(tmp_path, tree(**{"import": given})).import_.defaults == given


def test_each_step_of_the_ladder_has_a_time_of_its_own_and_a_sender(tmp_path):
    steps = [{"after": "2 days"}, {"after": "2 days", "channel": "sms"}]
    configuration = tree(follow_up={"ladder": steps, "reminders": ["3 days"]})
    del configuration["sms"], configuration["whatsapp"]
    assert [line.partition(": ")[0] for line in problems(tmp_path, configuration)] == [
        "follow_up.ladder[1].after",
        "follow_up.ladder[2].after",
        "follow_up.ladder[2].channel",
    ]
    late = tree(follow_up={"ladder": [{"after": "8 days"}]}, routes=[{"accounts": ["kyc"]}])
    del late["accounts"]["au"]
    assert "follow_up.ladder[1].after: this step is never sent: no link lives" in " ".join(
        loaded(tmp_path, late).warnings
    )


def test_a_late_step_is_warned_of_for_the_accounts_whose_links_end_before_it(tmp_path):
    late = tree(follow_up={"ladder": [{"after": "8 days"}]}, routes=[{"accounts": ["kyc", "au"]}])
    settings = loaded(tmp_path, late)
    assert "this step is never sent to customers of kyc: no link there lives" in " ".join(settings.warnings)
    assert lifetimes_unknown(settings.accounts) == ["au"]


def test_whatsapp_goes_by_the_account_of_texts(tmp_path):
    configuration = tree(whatsapp={"from": "+15005550009", "limits": ["2/second"]})
    found = loaded(tmp_path, configuration)
    texts, whatsapp = found.texting("sms"), found.texting("whatsapp")
    assert (whatsapp.account, whatsapp.token, whatsapp.from_) == (texts.account, texts.token, "+15005550009")
    assert [str(limit) for limit in whatsapp.limits] == ["2/second"]
    assert problems(tmp_path, with_value(("whatsapp", "from"), "Bank"))[0].startswith(
        "whatsapp.from: expected a number"
    )
    del configuration["sms"]
    (line,) = problems(tmp_path, configuration)
    assert line.startswith("sms: missing, and needed for [whatsapp]")


half_hours = st.builds(time, st.integers(0, 23), st.sampled_from([0, 30]))
half_hourly = st.builds(QuietHours, half_hours, half_hours).filter(lambda quiet: quiet.start != quiet.end)


@settings(max_examples=40)
@given(half_hourly, half_hourly)
def test_how_far_apart_two_channels_hours_lie_is_what_a_walk_round_the_clock_finds(one, other):
    midnight = datetime(2026, 11, 20, tzinfo=UTC)

    def free(quiet):
        times = {half: midnight + timedelta(minutes=30 * half) for half in range(48)}
        return [half for half, at in times.items() if allowed_at(("UTC",), quiet, at) == at]

    least = min((b - a) % 48 for x, y in [(one, other), (other, one)] for a in free(x) for b in free(y))
    assert apart(one, other) == timedelta(minutes=30 * max(least - 1, 0))  # free until its last half hour is over


def test_credits_are_capped_in_all_and_by_period(tmp_path: Path) -> None:
    given = {"credits": [60000, "2000 / day"]}
    assert loaded(tmp_path, with_kyb(kyc=given)).accounts["kyc"].credits == (CreditCap(60000), CreditCap(2000, "day"))


@pytest.mark.parametrize("credits", [-1, True, "2000/minute", ["5", "6"], ["5 / day", "6 / days"], [[1]], 1.5])
def test_a_cap_that_cannot_be_kept_is_refused_by_its_key(tmp_path: Path, credits: Any) -> None:
    (line,) = problems(tmp_path, with_kyb(kyc={"credits": credits}))
    assert line.startswith("accounts.kyc.credits: ")


@pytest.mark.parametrize(("given", "meant"), [("DOC_TOO_BLURY", "DOC_TOO_BLURRY"), ("mrz-not-found", "MRZ_NOT_FOUND")])
def test_a_misspelt_reason_of_refusals_is_named_with_the_nearest(tmp_path: Path, given: str, meant: str) -> None:
    (line,) = problems(tmp_path, tree(retry_after_denial={"reasons": ["NAME", given]}))
    assert line.startswith("retry_after_denial.reasons[2]: ")
    assert meant in line


def test_a_reason_of_refusals_that_is_new_is_waited_for_with_a_warning(tmp_path: Path) -> None:
    made = loaded(tmp_path, tree(retry_after_denial={"reasons": ["NAME", "HOLOGRAM_ODD"]}))
    assert made.retry_after_denial.reasons == ("NAME", "HOLOGRAM_ODD")
    assert [line.partition(":")[0] for line in made.warnings] == ["retry_after_denial.reasons[2]"]


def test_a_link_is_replaced_ahead_of_its_end_only_where_the_provider_opens_another_session_then(tmp_path: Path) -> None:
    allowed = {name for name in PROVIDERS.built_in if (facts := facts_of(name)) is not None and facts.opens_early}
    assert allowed == {"idenfy-kyb", "frankieone-v1", "frankieone-hosted"}
    configuration = with_kyb(kyb={"lifetime": "2 hours"})
    configuration["follow_up"] = {"ahead": "2 hours", "spacing": "0 s"}
    (line,) = problems(tmp_path, configuration)
    assert line == "follow_up.ahead: expected less than the links of kyb live, which is 2 hours"
    configuration["follow_up"] = {"ahead": "1 hour", "spacing": "3 hours"}
    found = [line for line in loaded(tmp_path, configuration).warnings if line.startswith("follow_up.ahead")]
    assert [name for name in ("kyb:", "au, kyc:") if any(f" {name}" in line for line in found)] == ["kyb:", "au, kyc:"]
