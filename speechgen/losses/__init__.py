"""Losses as plain functions: adversarial (hinge) · spectral · transducer. All are means over valid positions."""
