"""Waveform to discrete, tokens that are meant to say what is spoken, not by whom."""
