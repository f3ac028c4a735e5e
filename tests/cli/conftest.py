"""Fixtures of the command's tests."""

from .here import gw as gw
