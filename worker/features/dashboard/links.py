"""The addresses of actions. Pure."""

from urllib.parse import quote, urlencode


def do(action: str, **values: object) -> str:
    """The address of an action's confirmation."""
    query = urlencode({name: str(value) for name, value in values.items()}, quote_via=quote)
    return f"/dashboard/do/{action}" + (f"?{query}" if query else "")
