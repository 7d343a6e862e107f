"""What all tests of commands and pages ask of this one."""

READS = ["doctor"]
ASKS_FOR_ALL = ["doctor"]
NOT_RUN = [("doctor --mail", "asks the DNS; tests/features/doctor/test_command_mail.py has a server of its own")]
