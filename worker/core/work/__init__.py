"""The two kinds of work, calls to providers and messages to customers, as the dispatcher runs them."""
