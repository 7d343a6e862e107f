"""What all tests of settings ask of this one."""

SAMPLES = [("intake", [{"folder": "in"}])]
