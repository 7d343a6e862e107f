"""What the service desk sees of one customer, and does for one: commands and pages use the same functions."""
