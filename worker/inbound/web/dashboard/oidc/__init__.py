"""Log-in at an identity provider: OpenID Connect, by the authorization code flow with PKCE.

`flow` holds what one log-in remembers, `issuer` asks the identity provider, `id_token` judges what it answers, and
`door` is the two addresses that a browser comes to.
"""
