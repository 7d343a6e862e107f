"""Calls whose outcome is unknown: looked up, settled, or held for a person."""
