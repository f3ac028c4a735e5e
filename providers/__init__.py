"""Adapters to the models. ``base.py`` says what a provider is; each folder holds one."""
