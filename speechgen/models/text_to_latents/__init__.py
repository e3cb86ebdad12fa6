"""Phonemes and a voice to continuous latents, from left to right."""
