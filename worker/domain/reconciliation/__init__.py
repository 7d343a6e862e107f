"""Three books of one batch: ours, the provider's export, and the sender's log. What is in one and not in another."""
