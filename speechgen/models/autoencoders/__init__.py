"""Mel to continuous latents and back."""
