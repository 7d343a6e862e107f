"""The sandbox's customers and recipients: open links, finish, fail, and cause webhooks."""
