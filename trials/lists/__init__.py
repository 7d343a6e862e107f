"""Random operations of several lists, events and people on the same few customers, each history from a seed."""
