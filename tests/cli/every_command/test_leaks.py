"""What no command may show, and no database hold in the clear: personal data, tokens, links and secrets."""

from pathlib import Path

from onboarding_sandbox import Fault, SmtpFault
from tests.desk.desk import customers

ROWS = [
    {
        "customer_id": f"P-{n:03}",
        "first_name": "Xaverine" + "abcdefghijklmnopqrstuvwxyz"[n],
        "last_name": "Quellenhofer" + "abcdefghijklmnopqrstuvwxyz"[n],
        "email": f"xq.{n}.private@example.com",
        "phone": f"+3706123{n:04}",
        "date_of_birth": "1961-07-23",
        "country": "AU" if n < 8 else "LT",
        "entity_id": f"7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9{n:03}" if n < 8 else "",
    }
    for n in range(24)
]
PERSONAL = ("xaverine", "quellenhofer", ".private@", "+3706123", "3706123", "1961-07-23")
SECRETS = ("sandbox-secret", "s3cret-key-of-ours")


def test_no_personal_data_token_or_secret_is_in_the_log_on_screen_or_in_the_database(desk_at, play, tmp_path):
    played = play(
        faults=(
            Fault.parse("400-too-many:0.05"),
            Fault.parse("500:0.05"),
            Fault.parse("drop-after:0.1"),
            Fault.parse("half-body:0.1"),
            Fault.parse("401:0.02,endpoint=frankieone-v2"),
        ),
        smtp_faults=(SmtpFault.parse("452:0.1"), SmtpFault.parse("550:0.1"), SmtpFault.parse("drop-after:0.1")),
        idenfy_secret="s3cret-key-of-ours",
        seed=6,
    )
    desk = desk_at(played)
    desk.secret("idenfy_secret", "s3cret-key-of-ours")
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\non_unknown = "hold"')
    desk.change("[accounts.au]", 'prefill = "all"\n[accounts.au]')
    listed = desk.list_of([*ROWS, {"customer_id": "xq.99.private@example.com", "email": "quellenhofer"}])
    logged = ("--log-level", "debug", "--log-file", "onboard.log")
    # A message whose answer was lost is due again in half a minute.
    ended = desk.run_process("run", listed, "--json", "--patience", "10 s", *logged)
    assert ended.code == 1
    reports = [desk.onboard("report", "latest", "--format", form).out for form in ("csv", "jsonl", "html")]
    shown = [
        ended.out,
        ended.err,
        (tmp_path / "onboard.log").read_text(),
        desk.onboard("status", "latest").out,
        *reports,
    ]
    on_disk = [path.read_bytes().decode("latin-1") for path in databases(tmp_path)]
    assert on_disk
    assert len(played.tokens) > 10
    never = [*PERSONAL, *SECRETS, *(token.lower() for token in played.tokens)]
    for text in [*shown, *on_disk]:
        lowered = text.lower()
        assert [word for word in never if word in lowered] == []
    # What is looked for was really there: in what was sent to those whom it was meant for.
    sent = "".join(mail.text or "" for mail in played.sandbox.mailbox)
    assert any(token in sent for token in played.tokens)
    assert ended.facts["rows"]["held"] > 0


def databases(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith("onboarding.db") and path.stat().st_size]


def test_a_debug_log_on_standard_error_keeps_json_alone_on_standard_output(desk_at, play):
    desk = desk_at(play())
    ended = desk.run_process("run", desk.list_of(customers(3)), "--json", "--log-level", "debug")
    assert ended.code == 0
    assert ended.facts["rows"]["invited"] == 3
    assert not any(word in ended.err for word in ("box1@", "Quirin", "Ostrander"))
