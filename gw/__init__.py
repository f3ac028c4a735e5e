"""The application: assembles middlewares and providers; nothing imports it."""

__version__ = "0.1.0"
