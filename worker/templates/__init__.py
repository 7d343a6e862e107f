"""The text of an invitation: templates, their fallbacks, and their variables (docs/reference/templates.md)."""
