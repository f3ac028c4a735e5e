"""Thin handlers: read what the middlewares prepared, ask a provider, shape the answer."""
