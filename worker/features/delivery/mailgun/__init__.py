"""Mailgun: `[delivery.mailgun]`."""
