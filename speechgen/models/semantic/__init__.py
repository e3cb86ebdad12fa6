"""Text and a reference to semantic tokens."""
