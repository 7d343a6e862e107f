"""The attempt log: calls written before they are made, unknown outcomes, late results."""
