"""Anthropic's Messages API as a provider. Import the modules: ``adapter``, ``models``, ``reply``."""
