"""`onboard rehearse`: the command, and how it shows what would happen."""
