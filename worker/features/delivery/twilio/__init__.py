"""Twilio: its key is in `[sms]`, with the account."""
