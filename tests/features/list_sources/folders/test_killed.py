"""A process that is killed at any step: the file is taken once, and its import goes on or has left nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

CONFIGURATION = """
[encryption]
keys = [{ file = "key" }]
[accounts.kyc]
provider = "idenfy-kyc"
base_url = "http://127.0.0.1:9"
api_key = { env = "HOME" }
api_secret = { env = "HOME" }
[[routes]]
accounts = ["kyc"]
[email]
url = "smtp://127.0.0.1:9"
from = "Example <verify@example.com>"
[[intake]]
folder = "in"
"""
LIST = "customer_id,email\n" + "".join(f"C-{number},c{number}@example.org\n" for number in range(5)) + "C-5,none\n"


def test_a_file_is_taken_once_whatever_step_its_process_is_killed_at(tmp_path: Path, sqlite_template: Path):
    template = tmp_path / "template"
    (template / "in").mkdir(parents=True)
    (template / "in" / "list.csv").write_text(LIST)
    (template / "in" / "late.csv.part").write_text("customer_id\n")
    (template / "key").write_text("ERERERERERERERERERERERERERERERERERERERERERE=")
    (template / "key").chmod(0o600)
    (template / "onboarding.toml").write_text(CONFIGURATION)
    (template / "onboarding.db").write_bytes(sqlite_template.read_bytes())

    command = [sys.executable, "-m", "tests.features.list_sources.folders.killed", str(template)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ))

    assert ended.returncode == 0, ended.stderr
    tries = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(tries) >= 12  # seen, taken, batch, chunks, end, errors, done, report
    assert [one["killed"] for one in tries] == [True] * (len(tries) - 1) + [False]
    # A killed import leaves nothing, a batch that goes on, or a whole batch.
    assert {(one["before"]["batches"], one["before"]["complete"]) for one in tries} == {(0, 0), (1, 0), (1, 1)}
    for one in tries:
        assert (one["batches"], one["complete"], one["skipped"]) == (1, 1, [7])
        assert one["jobs"] == [[row, f"C-{row - 2}"] for row in range(2, 7)]
        assert one["files"] == [["list.csv", "imported", "finished", ""]]
        assert set(one["beside"]) == {"list.csv", "late.csv.part", "list.csv.errors.csv", "list.csv.report.csv"}
        assert one["beside"]["list.csv.errors.csv"].count("\n") == 2
        assert one["beside"]["list.csv.report.csv"].count("\n") == 7
