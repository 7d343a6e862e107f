"""How fast calls are made, how many in parallel, which account takes over, and when a batch ends.

No rows: the store applies these rules.
"""
