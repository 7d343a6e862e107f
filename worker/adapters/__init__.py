"""What the adapters of both kinds share, to providers and to senders: how they are found, what they are handed, how
they read answers."""
