"""Models that make audio from nothing, or from its beginning."""
