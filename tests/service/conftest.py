"""The tiny pipelines, for these tests."""

from tests.latents import latent_home, tiny_latents
from tests.tiny import home, tiny_home

__all__ = ["home", "latent_home", "tiny_home", "tiny_latents"]
