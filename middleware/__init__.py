"""Pure-ASGI middlewares for AI gateways; each works alone in any ASGI application."""
