"""How fast, how many at once, which account takes over, and when a batch ends.

No rows: the store applies these rules.
"""
