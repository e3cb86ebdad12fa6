"""Waveform to discrete, speaker-independent tokens."""
