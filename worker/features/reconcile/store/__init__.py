"""The books of a batch as they are compared with those of providers and senders."""
