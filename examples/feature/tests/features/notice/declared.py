"""What all tests of commands ask of this one."""

NEEDS = [("notice closed", {"KEY"})]
CHANGES = [("notice closed", ("notice", ""))]
