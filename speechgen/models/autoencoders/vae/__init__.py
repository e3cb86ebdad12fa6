"""Variational autoencoder of the mel: a few frames to one latent and back, causal both ways.

config · model (ConvNeXt encoder and decoder, channel statistics) · objective (L1 and a small KL) · generate (encode, decode)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.autoencoders.vae.config import VAEConfig, VAEObjectiveConfig, VAEOptions
from speechgen.models.autoencoders.vae.generate import VAEGenerator
from speechgen.models.autoencoders.vae.model import VAE
from speechgen.models.autoencoders.vae.objective import VAEObjective

SPEC = ModelSpec(
    role="autoencoders",
    accepts=("Mel",),
    produces="Latents",
    config=VAEConfig,
    build=VAE,
    objective_config=VAEObjectiveConfig,
    objective=VAEObjective,
    generator=VAEGenerator,
    options=VAEOptions,
    paper="Kingma and Welling, Auto-encoding variational Bayes (2013), arXiv:1312.6114; on mels: Liu et al., ARDiT (2024), "
    "arXiv:2406.05551, section 3.1",
)
