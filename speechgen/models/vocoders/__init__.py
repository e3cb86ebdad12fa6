"""Mel spectrogram to waveform."""
