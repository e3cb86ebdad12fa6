"""Descriptions to codes of sound: music and effects."""
