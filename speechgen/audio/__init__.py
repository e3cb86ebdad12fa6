"""Signals: files, resampling, the one mel, loudness. No models, no configuration."""
