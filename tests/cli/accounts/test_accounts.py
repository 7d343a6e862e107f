"""`account list` and `account resume`: what each account may do now, and trying a stopped one again."""

import pytest

from onboarding_worker.core.model.stops import way_out
from tests.desk.desk import Desk, Played, customers
from tests.suite.some import some

FACTS = [
    "account",
    "provider",
    "budget",
    "limits",
    "limit_found",
    "concurrency",
    "places_in_use",
    "credits_used",
    "credits_left",
    "paused_until",
    "pause_reason",
    "stopped_at",
    "stop_reason",
    "asks_again_at",
    "no_answer",
    "failures",
    "breaker_opened_at",
    "taken_over_by",
]


def change_budget(desk: Desk, account: str, **values: object) -> None:
    budget = of(desk, account)["budget"]
    columns = ", ".join(f"{name} = ?" for name in values)
    update = f"UPDATE budget SET {columns} WHERE name = ?"  # noqa: S608 -- the columns' names are the tests' own
    desk.sql(update, *values.values(), budget)


def of(desk: Desk, account: str) -> dict[str, object]:
    (only,) = (
        item for item in desk.onboard("account", "list", "--json").facts["accounts"] if item["account"] == account
    )
    return dict(only)


def test_each_account_and_sender_is_listed_with_what_it_may_do(desk: Desk):
    facts = desk.onboard("account", "list", "--json").facts
    assert list(facts) == ["accounts"]
    named = [item["account"] for item in facts["accounts"]]
    assert {"kyc", "au"} <= set(named[:-2])
    assert named[-2:] == ["email", "sms"]
    assert all(list(item) == FACTS for item in some(facts["accounts"]))
    kyc = of(desk, "kyc")
    assert (kyc["provider"], kyc["limits"], kyc["concurrency"]) == ("idenfy-kyc", ["2000/second"], 100)
    assert (kyc["credits_used"], kyc["credits_left"], kyc["stopped_at"], kyc["paused_until"]) == (0, None, None, None)
    assert of(desk, "email")["provider"] == "sender"


def test_a_limit_that_was_found_is_shown_beside_the_one_configured(desk: Desk):
    change_budget(desk, "kyc", pace_rate=25.0)
    kyc = of(desk, "kyc")
    assert (kyc["limits"], kyc["limit_found"]) == (["2000/second"], "25/second")
    shown = "".join(desk.onboard("account", "list").out.split())  # however narrow the terminal is
    assert "configured," in shown
    assert "25/second" in shown


def test_the_permits_in_use_are_shown_and_none_is_held_after_a_run(desk: Desk):
    desk.onboard("run", desk.list_of(customers(3)))
    kyc, email = of(desk, "kyc"), of(desk, "email")
    assert (kyc["places_in_use"], kyc["concurrency"], email["places_in_use"]) == (0, 100, None)
    until = "2999-01-01 00:00:00.000000"
    desk.sql("INSERT INTO permit VALUES (?, 'other:1', 7, ?)", kyc["budget"], until)
    assert of(desk, "kyc")["places_in_use"] == 7


def test_an_open_breaker_is_shown_with_its_reason(desk: Desk):
    told = {"blocked_until": "2999-01-01 00:00:00.000000", "pause_reason": "5 calls in a row failed", "pauses": 1}
    change_budget(desk, "kyc", **told, failures=5, opened_at="2026-01-01 00:00:00.000000")
    kyc = of(desk, "kyc")
    assert (kyc["failures"], kyc["breaker_opened_at"]) == (5, "2026-01-01T00:00:00Z")
    assert kyc["pause_reason"] == "5 calls in a row failed"


def test_for_people_a_line_says_of_each_that_it_works(desk: Desk):
    shown = desk.onboard("account", "list")
    assert shown.code == 0
    facts = desk.onboard("account", "list", "--json").facts["accounts"]
    assert shown.out.count("working") == len({one["budget"] for one in facts})
    for budget in {one["budget"] for one in facts}:  # those that share one are named together
        assert ", ".join(one["account"] for one in facts if one["budget"] == budget) in shown.out


def test_while_everything_is_stopped_the_list_of_accounts_says_so_first(desk: Desk):
    desk.onboard("stop", "--reason", "a wrong list")
    shown, facts = desk.onboard("account", "list").out, desk.onboard("account", "list", "--json").facts
    assert "a wrong list" in shown.splitlines()[0]
    assert "onboard resume --all" in shown.splitlines()[0]
    assert facts["stopped"] == desk.onboard("status", "--json").facts["stopped"]


def test_credits_are_counted_without_a_cap_and_a_cap_set_later_covers_them(desk: Desk, played: Played):
    assert desk.onboard("run", desk.list_of(customers(3))).code == 0
    kyc = of(desk, "kyc")
    assert (kyc["credits_used"], kyc["credits_left"], of(desk, "email")["credits_used"]) == (3, None, None)
    assert "3 used" in desk.onboard("account", "list").out
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\ncredits = 5')
    more = desk.list_of(customers(6), "more.csv")
    assert desk.onboard("run", more).code == 1
    assert sum(played.opened.values()) == 5
    kyc = of(desk, "kyc")
    assert (kyc["credits_used"], kyc["credits_left"]) == (5, 0)
    assert kyc["stop_reason"] == "the cap of 5 credits is used up"
    assert "5 used at most, 0 left" in desk.onboard("account", "list").out
    helps = way_out("kyc", kyc["stop_reason"])
    ended = desk.onboard("account", "resume", "kyc")
    assert (ended.code, ended.err) == (2, f"kyc: the cap of 5 credits is used up, so no call can be tried; {helps}\n")
    assert helps in " ".join(desk.onboard("status").out.split())
    assert helps in {line["action"] for line in desk.onboard("report", "latest").table}


def test_a_raised_cap_ends_the_stop_once_a_process_that_makes_calls_starts(desk: Desk, played: Played):
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\ncredits = 2')
    listed = desk.list_of(customers(3))
    assert desk.onboard("run", listed).code == 1
    desk.change("credits = 2", "credits = 90")
    assert desk.onboard("check", listed, "--json").facts["forecast"]["finishes_at"]
    # A running process keeps its cap: until it is restarted, every command says that the account is stopped.
    assert of(desk, "kyc")["stopped_at"]
    assert desk.onboard("status", "--check").code != 0
    assert desk.onboard("account", "resume", "kyc").code == 2
    assert desk.onboard("run", listed).code == 0
    assert (sum(played.opened.values()), of(desk, "kyc")["stopped_at"]) == (3, None)


def test_a_pause_is_shown_with_its_end_and_reason_while_it_lasts(desk: Desk):
    change_budget(desk, "kyc", blocked_until="2999-01-01 00:00:00.000000", pause_reason="HTTP 429", pauses=1)
    kyc = of(desk, "kyc")
    assert (kyc["paused_until"], kyc["pause_reason"]) == ("2999-01-01T00:00:00Z", "HTTP 429")
    # On one line, however narrow the terminal is.
    assert "\nkyc, kyc-lt, kyb are paused until 2999-01-01T00:00:00Z: HTTP 429\n" in desk.onboard("account", "list").out
    change_budget(desk, "kyc", blocked_until="2001-01-01 00:00:00.000000")
    kyc = of(desk, "kyc")
    assert (kyc["paused_until"], kyc["pause_reason"]) == (None, None)


def test_an_account_whose_credentials_are_refused_is_shown_stopped_and_resumed_by_name(desk: Desk, played: Played):
    listed = desk.list_of(customers(3))
    desk.secret("idenfy_secret", "wrong")
    assert desk.onboard("run", listed).code == 1
    kyc = of(desk, "kyc")
    assert kyc["stopped_at"]
    assert "401" in str(kyc["stop_reason"])
    assert "stopped since 20" in desk.onboard("account", "list").out
    resumed = desk.onboard("account", "resume", "kyc")
    assert (resumed.code, "single call" in resumed.out) == (0, True)
    assert of(desk, "kyc")["stopped_at"] is None
    desk.secret("idenfy_secret", "sandbox-secret")
    assert desk.onboard("run", listed).code == 0
    assert len(played.sandbox.mailbox) == 3


@pytest.mark.parametrize("source", ["a file", "a variable"])
def test_who_resumes_an_account_hears_which_of_its_values_a_running_process_keeps(desk: Desk, source: str):
    if source == "a variable":
        desk.environ["ONBOARDING__ACCOUNTS__KYC__API_SECRET"] = "sandbox-secret"
    change_budget(desk, "kyc", stopped_at="2026-01-01 00:00:00.000000", stop_reason="HTTP 401")
    told = desk.onboard("account", "resume", "kyc").out
    assert ("accounts.kyc.api_secret" in told) is (source == "a variable")
    assert "sandbox-secret" not in told


def test_who_may_take_over_an_account_s_rows_is_shown_while_it_cannot_work(desk: Desk):
    desk.change('when = { country = ["AU", "NZ"] }\naccounts = ["au-new"]', 'accounts = ["kyc", "au-new", "kyb"]')
    assert of(desk, "kyc")["taken_over_by"] == []
    change_budget(desk, "kyc", stopped_at="2026-01-01 00:00:00.000000", stop_reason="HTTP 401")
    assert of(desk, "kyc")["taken_over_by"] == ["au-new"]  # kyb shares its credentials, and so its stop
    shown = desk.onboard("account", "list").out
    assert "\nkyc, kyc-lt, kyb are stopped since 2026-01-01T00:00:00Z: HTTP 401\n" in shown
    assert "\nau-new may take the rows of kyc over\n" in shown


def test_a_sender_is_resumed_like_an_account(desk: Desk):
    change_budget(desk, "email", stopped_at="2026-01-01 00:00:00.000000", stop_reason="535")
    assert of(desk, "email")["stop_reason"] == "535"
    assert "single call" in desk.onboard("account", "resume", "email").out
    assert of(desk, "email")["stopped_at"] is None


def test_accounts_that_share_a_budget_are_resumed_together_and_named(desk: Desk):
    second = """[accounts.second]
provider = "frankieone-v2"
base_url = "http://127.0.0.1:1/frankieone"
api_key = { file = "secrets/frankieone_key" }
customer_id = { file = "secrets/frankieone_customer" }
link = "https://verify.example.com/start#token={token}"
budget = "shared"
limits = ["7/second"]
"""
    desk.add(second + second.replace("accounts.second", "accounts.third"))
    change_budget(desk, "second", stopped_at="2026-01-01 00:00:00.000000", stop_reason="HTTP 401")
    assert of(desk, "third")["stop_reason"] == "HTTP 401"
    assert "(and third, which share its budget)" in desk.onboard("account", "resume", "second").out
    assert of(desk, "third")["stopped_at"] is None


def test_an_account_that_was_not_stopped_stays_as_it_is(desk: Desk):
    assert of(desk, "kyc")["stopped_at"] is None
    resumed = desk.onboard("account", "resume", "kyc")
    assert (resumed.code, resumed.out) == (0, "kyc was neither stopped nor paused\n")


def test_a_pause_is_ended_by_name_for_all_accounts_that_share_it_and_their_rows_go_on(desk: Desk, played: Played):
    listed = desk.list_of(customers(3))
    paused = {"blocked_until": "2999-01-01 00:00:00.000000", "next_at": "2999-01-01 00:00:00.000000"}
    change_budget(desk, "kyc", **paused, pause_reason="HTTP 429", pauses=1)
    assert desk.onboard("run", listed).code == 3
    assert played.opened == {}
    resumed = desk.onboard("account", "resume", "kyc")
    assert (resumed.code, resumed.out) == (
        0,
        "kyc (and kyc-lt, kyb, which share its budget) is tried again with a single call: its pause ended\n"
        "running workers go on; without workers: `onboard run LIST`, or `onboard up`\n",
    )
    assert desk.onboard("run", listed).code == 0
    assert len(played.sandbox.mailbox) == 3


def test_a_stop_that_is_asked_again_says_when(desk: Desk):
    stop = {"stopped_at": "2026-01-01 00:00:00.000000", "asks_again_at": "2999-01-01 00:05:00.000000"}
    change_budget(desk, "kyc", **stop, stop_reason="HTTP 401")
    assert (
        "\nkyc, kyc-lt, kyb are stopped since 2026-01-01T00:00:00Z: HTTP 401;"
        " a running worker asks again from 2999-01-01T00:05:00Z on\n" in desk.onboard("account", "list").out
    )


def test_a_resumed_account_is_printed_as_json(desk: Desk):
    change_budget(desk, "kyc", stopped_at="2026-01-01 00:00:00.000000", stop_reason="HTTP 401")
    resumed = desk.onboard("account", "resume", "kyc", "--json").facts
    assert (resumed["account"], resumed["resumed"]) == ("kyc", True)
    assert all(of(desk, other)["budget"] == of(desk, "kyc")["budget"] for other in some(resumed["shared"]))
    assert desk.onboard("account", "resume", "kyc", "--json").facts == resumed | {"resumed": False, "ended": []}


@pytest.mark.parametrize("name", ["kyk", ""])
def test_an_account_that_is_not_there_is_exit_2_and_names_those_that_are(desk: Desk, name: str):
    desk.onboard("account", "list")
    ended = desk.onboard("account", "resume", name)
    assert (ended.code, ended.out) == (2, "")
    assert "they are au, " in ended.err
    assert "sms" in ended.err
