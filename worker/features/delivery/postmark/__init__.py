"""Postmark: `[delivery.postmark]`."""
