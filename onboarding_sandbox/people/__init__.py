"""The sandbox's customers and recipients: they open links, finish, fail, and cause webhooks."""
