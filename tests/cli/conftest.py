"""The tiny pipeline, for these tests."""

from tests.tiny import home, tiny_home

__all__ = ["home", "tiny_home"]
