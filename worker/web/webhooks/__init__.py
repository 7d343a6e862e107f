"""Webhooks of providers and of senders: their routes, and how the source of each is recognised."""
