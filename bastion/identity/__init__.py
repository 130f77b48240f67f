"""From an OIDC sign-in to a named person."""
