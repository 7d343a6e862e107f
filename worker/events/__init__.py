"""Events in and out: their envelope, their order, their schemas. No transport."""
