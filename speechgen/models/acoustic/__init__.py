"""Semantic tokens and a prompt to mel spectrogram."""
