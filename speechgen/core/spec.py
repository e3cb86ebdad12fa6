"""ModelSpec: everything that other rooms may read of a model folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from speechgen.core.config import StrictModel
from speechgen.core.protocols import Objective

__all__ = ["ModelSpec", "Role"]

Role = Literal[
    "tokenizers",
    "semantic",
    "acoustic",
    "text_to_mel",
    "text_to_codes",
    "text_to_latents",
    "autoencoders",
    "codecs",
    "vocoders",
    "waveform",
]


@dataclass(frozen=True)
class ModelSpec:
    """One system. A folder's `__init__` defines it as `SPEC`.

    Attributes:
        role: the folder above the model's.
        accepts: names of carriers it consumes, such as ("SemanticTokens", "Mel").
        produces: name of the carrier it produces.
        config: architecture configuration; `config.tiny()` is the smallest that exercises every path.
        build: config to network.
        objective_config: loss weights and the like.
        objective: (network, config, objective_config) to Objective.
        generator: (network, config) to an object with the role's protocol.
        options: per-request options of the generator (empty if none).
        paper: citation.
    """

    role: Role
    accepts: tuple[str, ...]
    produces: str
    config: type[StrictModel]
    build: Callable[[Any], nn.Module]
    objective_config: type[StrictModel]
    objective: Callable[[nn.Module, Any, Any], Objective]
    generator: Callable[[nn.Module, Any], Any]
    options: type[StrictModel]
    paper: str
