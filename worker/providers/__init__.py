"""One adapter for each endpoint of iDenfy and FrankieOne: builds requests, reads answers and webhooks. Makes no call,
knows no database."""
