"""Events of other systems, received once."""
