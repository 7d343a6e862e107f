"""`onboard stop` and `onboard resume --all`: everything at once, and exactly that again."""

from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs
from tests.suite.waiting import wait_until


@needs("doctor")
def test_everything_stops_and_goes_on_and_a_paused_batch_stays_paused(desk: Desk, played: Played):
    paused = desk.list_of(customers(2), "paused.csv")
    going = desk.list_of(customers(5)[2:], "going.csv")
    desk.onboard("import", paused)
    desk.onboard("pause", "1")

    stopped = desk.onboard("stop", "--reason", "the wrong template", "--json")
    assert (stopped.code, stopped.facts["in_flight"]) == (0, {})
    assert stopped.facts["stopped"]["reason"] == "the wrong template"
    assert "already" in desk.onboard("stop").out
    assert "its reason stays as it was\n" in desk.onboard("stop", "--reason", "another").out

    refused = desk.onboard("run", going)
    assert refused.code == 2
    assert "the wrong template; `onboard resume --all` goes on" in refused.err
    assert desk.onboard("import", going).code == 0
    assert played.calls() == []

    status = desk.onboard("status")
    assert status.out.startswith("everything was stopped by ")
    facts = desk.onboard("status", "--json").facts
    assert (facts["needs_a_person"][0]["what"], facts["needs_a_person"][0]["command"]) == (
        "stop",
        "onboard resume --all",
    )
    assert facts["stopped"]["reason"] == "the wrong template"
    (batch,) = (one for one in facts["batches"] if one["name"] == "going.csv")
    assert batch["forecast"]["finishes_at"] is None  # a stop has no end of its own
    assert batch["forecast"]["limited_by"].endswith("the wrong template: `onboard resume --all` goes on")
    assert desk.onboard("status", "--check").code == 1
    assert "onboard resume --all" in desk.onboard("doctor").out

    assert desk.onboard("resume", "--all", "--json").facts["stopped"]["reason"] == "the wrong template"
    assert "nothing was stopped" in desk.onboard("resume", "--all").out
    assert desk.onboard("run", going).code == 0
    assert len(played.sandbox.mailbox) == 3
    assert desk.onboard("status", "1", "--json").facts["state"] == "paused"


def test_what_is_resumed_during_a_stop_does_not_go_on_before_it_ends(desk: Desk):
    desk.onboard("import", desk.list_of(customers(2)))
    desk.onboard("pause", "1")
    stop_the_account(desk)
    desk.onboard("stop", "--reason", "the wrong template")
    for typed in (["account", "resume", "kyc"], ["resume", "1"]):
        said = desk.onboard(*typed).out
        assert "the wrong template; " in said
        assert "`onboard resume --all`" in said
        assert "running workers go on" not in said
    assert "without workers: `onboard run LIST`, or `onboard up`" in desk.onboard("resume", "--all").out
    stop_the_account(desk)
    assert "running workers go on" in desk.onboard("account", "resume", "kyc").out


def stop_the_account(desk: Desk) -> None:
    desk.sql("UPDATE budget SET stopped_at = '2026-01-01', stop_reason = '401' WHERE name = 'kyb'")


def test_resume_takes_a_batch_or_all(desk: Desk):
    for typed in (["resume"], ["resume", "1", "--all"]):
        ended = desk.onboard(*typed)
        assert ended.code == 2
        assert "--all" in ended.err


def test_a_run_ends_when_another_person_stops_everything(desk: Desk, played: Played):
    desk.change('limits = ["2000/second"]', 'limits = ["20/second"]')
    run = desk.start("run", desk.list_of(customers(300)), "--json")
    wait_until(lambda: len(played.calls()) > 3, "some calls are made")

    desk.onboard("stop", "--reason", "enough")
    calls = len(played.calls())
    ended = desk.end(run)

    assert (ended.code, len(played.calls())) == (1, calls)
    assert "enough; `onboard resume --all`" in ended.err
    assert ended.facts["rows"]["waiting"] >= 300 - calls
    desk.onboard("resume", "--all")
    assert desk.onboard("status", "1", "--json").facts["state"] == "begun"


def test_its_reason_holds_no_address_since_the_audit_log_keeps_it(desk: Desk):
    for reason in ("ona@example.com was written to twice", "call +370 600 00001 first"):
        refused = desk.onboard("stop", "--reason", reason)
        assert (refused.code, "write no address" in refused.err) == (2, True)
    assert "stopped" not in desk.onboard("status", "--json").facts
