"""A mail system of your own, or a program that translates: `[delivery.standard]`."""
