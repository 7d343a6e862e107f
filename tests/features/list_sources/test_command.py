"""What commands say of folders that lists are taken from."""

from tests.desk.desk import Desk
from tests.suite.of_features import needs


@needs("doctor")
def test_status_and_doctor_say_what_a_folder_waits_for(desk: Desk):
    (desk.path / "in").mkdir()
    desk.add('[[intake]]\nfolder = "in"\n\n[[intake]]\nfolder = "away"\n')
    folders = desk.onboard("status", "--json").facts["intake"]
    assert [(one["folder"], one["waits_for"]) for one in folders] == [
        ("in", "waits for a file"),
        ("away", "waits for a file"),
    ]
    assert "folder in: waits for a file" in desk.onboard("status").out
    said = desk.onboard("doctor").out
    assert "can be read; it holds 0 lists" in said
    assert "cannot be read: " in said


@needs("doctor")
def test_a_firewall_must_let_a_far_folder_through(desk: Desk):
    desk.secret("sftp", "hemlig")
    address = "sftp://bank@files.example.com/in"
    desk.add(f'[[intake]]\nfolder = "{address}"\npassword = {{ file = "secrets/sftp" }}\n')
    assert "files.example.com:22" in desk.onboard("doctor", "--egress").out
