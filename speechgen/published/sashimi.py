"""SaShiMi as its authors publish it (HazyResearch/state-spaces), in both forms of its keys, versions 3 and 4.

Version 3 calls a step `log_dt` [H] and eigenvalues `inv_w_real`, `w_imag`, in a kernel inside a kernel; version 4 has `inv_dt`
[H, 1], `A_real`, `A_imag` with the opposite sign. Both store C (1 - Abar^L) for the length L that they were trained with, from
which C itself is found here: our kernels have any length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.weights import find_file, read_weights, tensors
from speechgen.models.waveform.sashimi.config import SashimiConfig
from speechgen.nn.state_space import LowRankKernel
from speechgen.published import About, Imported, foreign

__all__ = ["ABOUT", "convert", "infer_config", "read", "to_version_4"]

ABOUT = About(
    model="sashimi",
    origin="huggingface.co/krandiash/sashimi-release",
    licence="Apache-2.0",
    files=("checkpoints/sashimi_*.pt", "sashimi_*.pt", "*.ckpt", "*.pt"),
)
_RENAMES = (
    (r"inv_w_real|log_w_real", "A_real"),
    (r"w_imag", "A_imag"),
    (r"log_dt", "inv_dt"),
    (r"kernel\.kernel\.L$", "kernel.kernel.l_kernel"),
    (r"kernel\.kernel\.", "kernel."),
    (r"(?<!layer\.)layer\.(kernel|D)(?=\.|$)", r"layer.layer.\1"),
)


def read(source: Path) -> Imported:
    """Read the published file, or the folder it lies in.

    Raises:
        UserError: it cannot be read, or is no autoregressive SaShiMi.
    """
    path = find_file(source, ABOUT.files)
    content = read_weights(path)
    notes = (
        "its quantiser is not in the file: taken for mu-law at 16 kHz, as for SC09 and YouTubeMix; Beethoven was linear",
        "its recordings were scaled each to its own extremes: published bits per sample compare under that alone",
    )
    with foreign(path, "SaShiMi"):
        published = to_version_4(tensors(content.get("state_dict", content), path))
        config = infer_config(published)
        return Imported(config, convert(published, config), notes)


def to_version_4(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names and signs of version 4, without what stands before them."""
    old = any(key.endswith("log_dt") for key in state)
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = re.sub(r"^(?:model\.)*(?=(?:[dcu]_layers|norm)\.)", "", key)
        if old:
            if name.endswith("w_imag"):
                value = -value
            if name.endswith("log_dt"):
                value = value[..., None]
            for pattern, replacement in _RENAMES:
                name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def infer_config(state: Mapping[str, Tensor]) -> SashimiConfig:
    """Read the sizes off the shapes of a version 4 state dict.

    Raises:
        UserError: it is no autoregressive SaShiMi.
    """
    try:
        width = state["norm.weight"].shape[0]
        matrices = {key: _flat(value) for key, value in state.items() if value.dim() > 1}
        down = [key for key in matrices if re.match(r"d_layers\.\d+\.linear.*weight(_v)?$", key)]
        weights = [matrices[key] for key in sorted(down, key=lambda key: int(key.split(".")[1]))]
        expand = weights[0].shape[0] // width
        pools = tuple(weight.shape[1] // (width * expand**level) for level, weight in enumerate(weights))
        centre = [key for key in state if re.match(r"c_layers\.\d+\.layer\.layer\.kernel\.C$", key)]
        first = centre[0].removesuffix("layer.layer.kernel.C")
        output = _flat(_first(state, first + "layer.output_linear"))
        hidden = _flat(_first(state, "c_layers.1.layer.ff.0"))
        states = state[first + "layer.layer.kernel.A_real"].shape
        channels = output.shape[1]
    except (KeyError, IndexError) as error:
        raise UserError(f"this is no published SaShiMi ({error!r}): give the state dict of an autoregressive one") from error
    if first + "layer.layer.kernel.P" not in state:
        raise UserError("this SaShiMi has diagonal kernels: only those with S4's are read")
    return SashimiConfig(
        width=width,
        depth=len(centre),
        pools=pools,
        expand=expand,
        hidden=hidden.shape[0] // channels,
        state_size=2 * states[-1],
        kernel="s4",
        shared=states[0] == 1,
        glu=output.shape[0] == 2 * channels,
        unet="d_layers.0.norm.weight" in state,
    )


def convert(state: Mapping[str, Tensor], config: SashimiConfig) -> dict[str, Tensor]:
    """Return a version 4 state dict under our names.

    Raises:
        UserError: a norm has a form that ours cannot take.
    """
    ours: dict[str, Tensor] = {}
    step = 2 * config.depth + 1 if config.unet else 1
    levels = len(config.pools)
    for level in range(levels):
        for place in range(step - 1):
            _block(ours, f"backbone.scales.{level}.before.{place}", state, f"d_layers.{level * step + place}")
        _linear(ours, f"backbone.scales.{level}.pool", state, f"d_layers.{level * step + step - 1}.linear")
        up = levels - 1 - level
        _linear(ours, f"backbone.scales.{level}.unpool", state, f"u_layers.{up}.0.linear")
        for place in range(2 * config.depth):
            _block(ours, f"backbone.scales.{level}.after.{place}", state, f"u_layers.{up}.{place + 1}")
    for place in range(2 * config.depth):
        _block(ours, f"backbone.centre.{place}", state, f"c_layers.{place}")
    ours |= {f"backbone.norm.{kind}": state[f"norm.{kind}"].float() for kind in ("weight", "bias")}
    ours["embedding.weight"] = _first(state, "encoder").float()
    _linear(ours, "head", state, _owner(state, "decoder"))
    return ours


def _first(state: Mapping[str, Tensor], prefix: str) -> Tensor:
    """The first matrix below a prefix."""
    return next(value for key, value in state.items() if key.startswith(f"{prefix}.") and key.endswith("weight"))


def _owner(state: Mapping[str, Tensor], prefix: str) -> str:
    """Name of the first linear layer below a prefix."""
    return next(key for key in state if key.startswith(f"{prefix}.") and key.endswith(".weight")).removesuffix(".weight")


def _flat(value: Tensor) -> Tensor:
    """A convolution of width 1 is a matrix."""
    return value.flatten(1) if value.dim() == 3 else value


def _linear(ours: dict[str, Tensor], name: str, state: Mapping[str, Tensor], theirs: str) -> None:
    """A linear layer, maybe with its activation in a sequence, weight normalisation, or a bias as a column."""
    if f"{theirs}.0.weight" in state or f"{theirs}.0.weight_v" in state:
        theirs = f"{theirs}.0"
    if f"{theirs}.weight_v" in state:
        direction = state[f"{theirs}.weight_v"].float()
        length = direction.flatten(1).norm(dim=1).view(-1, *[1] * (direction.dim() - 1))
        weight = direction * state[f"{theirs}.weight_g"].float() / length
    else:
        weight = state[f"{theirs}.weight"].float()
    ours[f"{name}.weight"], ours[f"{name}.bias"] = _flat(weight), state[f"{theirs}.bias"].float().flatten()


def _block(ours: dict[str, Tensor], name: str, state: Mapping[str, Tensor], theirs: str) -> None:
    """A residual block: state space or feed-forward."""
    _norm(ours, f"{name}.norm", state, theirs)
    if f"{theirs}.layer.ff.0.weight" in state or f"{theirs}.layer.ff.0.0.weight" in state:
        _linear(ours, f"{name}.up", state, f"{theirs}.layer.ff.0")
        _linear(ours, f"{name}.down", state, f"{theirs}.layer.ff.2")
        return
    _linear(ours, f"{name}.out", state, f"{theirs}.layer.output_linear")
    ours[f"{name}.mix.skip"] = state[f"{theirs}.layer.layer.D"].float().flatten()
    kernel = {key.rpartition(".")[2]: value for key, value in state.items() if key.startswith(f"{theirs}.layer.layer.kernel.")}
    for key, value in _kernel(kernel).items():
        ours[f"{name}.mix.kernel.{key}"] = value


def _norm(ours: dict[str, Tensor], name: str, state: Mapping[str, Tensor], theirs: str) -> None:
    for prefix in (f"{theirs}.norm", f"{theirs}.norm.norm"):
        if f"{prefix}.weight" in state:
            ours |= {f"{name}.{kind}": state[f"{prefix}.{kind}"].float() for kind in ("weight", "bias")}
            return
        if f"{prefix}.s" in state:  # scalars: s (x - mean + m) / deviation
            if state[f"{prefix}.m"].abs().max() > 1e-6:
                raise UserError(f"{prefix} shifts what it normalises by {float(state[f'{prefix}.m']):g}, which ours cannot")
            size = _flat(_first(state, f"{theirs}.layer")).shape[1]
            ours[f"{name}.weight"] = state[f"{prefix}.s"].float().expand(size).clone()
            ours[f"{name}.bias"] = torch.zeros(size)
            return
    raise UserError(f"{theirs} has no norm: this is no published SaShiMi")


def _kernel(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """S4's parameters, with C itself."""
    width, states = theirs["C"].shape[1], theirs["A_real"].shape[-1]
    systems = theirs["A_real"].shape[0]
    many = 1 if systems == 1 else width
    kernel = LowRankKernel(width, 2 * states, shared=many == 1, directions=len(theirs["C"])).double()

    def own(value: Tensor) -> Tensor:
        """Of each channel, if not all share it."""
        return value.double().repeat(many // systems, *[1] * (value.dim() - 1))

    fitting = {
        "log_step": theirs["inv_dt"].double().flatten(),
        "log_decay": own(theirs["A_real"]),
        "frequency": -own(theirs["A_imag"]),
        "low_rank": own(theirs["P"][0]),
        "input": own(theirs["B"][0]),
        "output": theirs["C"].double(),
    }
    kernel.load_state_dict(fitting)
    length = int(theirs["l_kernel"]) if "l_kernel" in theirs else 0
    if length:
        kernel.output.data = kernel.untruncated(length)
    return {key: value.float() for key, value in kernel.state_dict().items()}
