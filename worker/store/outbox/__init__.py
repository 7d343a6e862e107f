"""Events of ours: written with the change, read by the publisher."""
