"""Networks made ready to speak on a CPU: weights laid out once as its matrix kernels want them, in fewer bits if wanted.

`F.linear` hands float32 products to the BLAS that torch was built with, which is slow on processors of another maker than its
own; oneDNN's kernels, packed beforehand, take half to a third of the time, and bfloat16 or int8 less again. What lies between
the products stays float32. A packed network computes and no longer learns, is not saved, and stays on the CPU.
"""

from __future__ import annotations

import platform
from typing import Any, Literal

import torch
from torch import Tensor, nn

from speechgen.core.errors import UserError

__all__ = ["Precision", "has_bfloat16", "hasten", "pack", "precisions"]

Precision = Literal["float32", "bfloat16", "int8"]
"""Of the products with weights."""


def has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 itself; where float32 does it instead, that takes up to 100 times as long."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def precisions() -> tuple[Precision, ...]:
    """Return those that this CPU has, most bits first."""
    return ("float32", "bfloat16", "int8") if has_bfloat16() else ("float32", "int8")


def hasten(network: nn.Module, precision: Precision, device: torch.device, *, compiled: bool = False) -> None:
    """Make a network, in place, as fast as the device lets it be at a precision; it no longer learns.

    Args:
        network: in eval mode, on the device.
        precision: of its products. bfloat16 is float32 on a CPU that lacks it; int8 is for CPUs alone, other devices take
            bfloat16 for it.
        device: where it is. A CPU without oneDNN computes as before.
        compiled: trace it when it first runs, for each new length again, and replay its steps as CUDA graphs. For GPUs alone.

    Raises:
        UserError: compiling was asked for on another device.
    """
    if compiled and device.type != "cuda":
        raise UserError(f"compile is for GPUs, this pipeline runs on {device}: leave it out, or choose --device cuda")
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        pack(network, "float32" if precision == "bfloat16" and not has_bfloat16() else precision)
    elif device.type != "cpu" and precision != "float32":
        network.to(torch.bfloat16)
    if compiled:
        network.compile(mode="reduce-overhead")


def pack(network: nn.Module, precision: Precision = "float32") -> nn.Module:
    """Replace, in place, every layer that multiplies by weights; return the network in eval mode.

    Args:
        network: float32, on the CPU.
        precision: float32 gives what the network gave, but for the order of additions; int8 rounds weights by row, and what
            goes into a product by its largest value.
    """
    for name, child in list(network.named_children()):
        if isinstance(child, nn.Linear):
            setattr(network, name, _packed(child, precision))
        elif isinstance(child, nn.Conv1d) and child.groups < child.in_channels and precision != "float32":
            setattr(network, name, _HalfConvolution(child))
        else:
            pack(child, precision)
    if isinstance(network, nn.Sequential):
        _fuse(network)
    return network.eval()


def _packed(linear: nn.Linear, precision: Precision) -> nn.Module:
    if precision == "int8":
        return _Int8Linear(linear)
    return _PackedLinear(linear, torch.float32 if precision == "float32" else torch.bfloat16)


def _fuse(layers: nn.Sequential) -> None:
    """Let a product apply the GELU that follows it."""
    for index, (first, second) in enumerate(zip(layers, list(layers)[1:], strict=False)):
        if isinstance(first, _PackedLinear) and isinstance(second, nn.GELU):
            first.gelu = second.approximate
            layers[index + 1] = nn.Identity()


class _PackedLinear(nn.Module):
    """A product by oneDNN with weights in its own layout, and GELU behind it if `gelu` names one."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        reordered = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype), None)
        self.weight = nn.Parameter(reordered, requires_grad=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().to(dtype), requires_grad=False)
        self.dtype, self.gelu = dtype, ""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D'], float32 both."""
        behind = ("gelu", [], self.gelu) if self.gelu else ("none", [], "")
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, *behind)
        return made.float()


class _Int8Linear(nn.Module):
    """A product of 8-bit integers: weights rounded by row beforehand, the input by its range when it comes."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(1).clamp(min=1e-8).double() / 127
        rounded = torch.quantize_per_channel(weight, scale, torch.zeros(len(scale), dtype=torch.long), 0, torch.qint8)
        self.packed: Any = _with_onednn(rounded, None if linear.bias is None else linear.bias.detach())
        # Without VNNI pairs of products are added in 16 bits, which 8-bit inputs overflow.
        self.seven_bits = not torch.cpu._is_vnni_supported()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D'], float32 both."""
        made: Tensor = torch.ops.quantized.linear_dynamic(x, self.packed, self.seven_bits)
        return made


def _with_onednn(rounded: Tensor, bias: Tensor | None) -> Any:
    """Pack int8 weights for oneDNN, the fastest of the kernels, whichever is chosen for other purposes."""
    backend = torch.backends.quantized
    before = backend.engine
    backend.engine = "onednn" if "onednn" in backend.supported_engines else before
    try:
        return torch.ops.quantized.linear_prepack(rounded, bias)
    finally:
        backend.engine = before


class _HalfConvolution(nn.Module):
    """A convolution in bfloat16."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.convolution = convolution.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, D, T] to [B, D', T'], float32 both."""
        made: Tensor = self.convolution(x.to(torch.bfloat16)).float()
        return made
