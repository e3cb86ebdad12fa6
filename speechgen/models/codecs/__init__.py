"""Audio to codes and back: one folder per codec."""
