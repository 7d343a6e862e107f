"""What tests of all settings and commands ask of this one."""

SAMPLES = [("alerts", {"webhook": "http://127.0.0.1:9/hooks"})]
# A table whose secret is a variable, and which commands ask for it.
VARIABLES = ['[alerts]\nwebhook = { env = "ALERT" }\n']
ASKED_BY_ALL = ["ALERT"]
ASKED_BY_WEB = ["ALERT"]
# For a rehearsal, which must not reach this port.
TRAPS = ['[alerts]\nwebhook = "http://127.0.0.1:{port}"\n']
