"""State-space layers: a long convolution when trained, a recurrence of fixed size when it generates.

x' = A x + B u, y = Re(C x) + D u, one system a channel. S4D has a diagonal A (Gu et al., 2022); S4 a diagonal one less a
product, A = Lambda - p p*, whose eigenvalues all lie in the left half plane because Re Lambda < 0 (Goel et al., 2022, section
4.2). Both tell their kernel, which is convolved by FFT, and the same thing as a recurrence of complex states.

Complex numbers come in conjugate pairs; one of each is stored, as real pairs in the last dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["INITIALS", "Initial", "Recurrence", "StateSpace", "diagonal_initial", "hippo_legs"]

Initial = Literal["lin", "inv", "real", "legs"]
INITIALS: tuple[str, ...] = get_args(Initial)
STEP_RANGE = (1e-3, 1e-1)
"""Between these, evenly by their logarithm, lie the first step sizes of the channels."""


@dataclass(frozen=True)
class Recurrence:
    """A discretised system: s <- a s + b u - h w with w = Re(f . s) + g u, then y = Re(c . s); all [H, N], g [H].

    Attributes:
        a: complex, |a| < 1.
        b: complex.
        c: complex, for each direction: [D, H, N]; the weight of a pair is in it.
        h: complex, f: complex, g: real: what takes A = Lambda - p p* from its diagonal; None for a diagonal A.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    h: Tensor | None = None
    f: Tensor | None = None
    g: Tensor | None = None

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one sample u [B, H] and state [B, H, N] to y [B, H] of the first direction and the next state."""
        after = self.a * state + self.b * u[..., None]
        if self.h is not None and self.f is not None and self.g is not None:
            w = (self.f * state).real.sum(-1) + self.g * u
            after = after - self.h * w[..., None]
        return (self.c[0] * after).real.sum(-1), after


def hippo_legs(state_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return Lambda, p and B [N / 2] complex128 of the HiPPO-LegS matrix in diagonal plus low-rank form (S4, appendix C)."""
    n = torch.arange(state_size, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    lower = torch.tril(root[:, None] * root[None, :], -1)
    matrix = -(lower + torch.diag(n + 1))
    p = (n + 0.5).sqrt()
    skew = matrix + p[:, None] * p[None, :]  # -1/2 on the diagonal, otherwise skew-symmetric
    frequencies, vectors = torch.linalg.eigh(skew * -1j)
    chosen = frequencies.argsort()[: state_size // 2]  # of each pair the one with a negative frequency
    basis = vectors[:, chosen].conj().T
    centre = skew.diagonal().mean()
    first = basis @ root.to(basis.dtype)
    return torch.complex(centre.expand(len(chosen)), frequencies[chosen]), basis @ p.to(basis.dtype), first


def diagonal_initial(initial: Initial, state_size: int) -> Tensor:
    """Return the eigenvalues [N / 2] complex128 that S4D begins with ("real": [N], without a partner; S4D, section 4).

    Raises:
        ValueError: there is no such initialisation, or the state size is odd.
    """
    if initial not in INITIALS or state_size < 2 or state_size % 2:
        raise ValueError(f"a state of {state_size} from {initial!r}: sizes are even, initialisations {', '.join(INITIALS)}")
    n = torch.arange(state_size // 2, dtype=torch.float64)
    if initial == "real":
        return torch.complex(-(torch.arange(state_size, dtype=torch.float64) + 1), torch.zeros(state_size, dtype=torch.float64))
    if initial == "legs":
        return hippo_legs(state_size)[0]
    frequency = math.pi * n if initial == "lin" else state_size / math.pi * (state_size / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(n, -0.5), frequency)


class DiagonalKernel(nn.Module):
    """S4D, discretised by zero-order hold: Abar = exp(dt A), Bbar = (Abar - 1) / A with B = 1.

    Args:
        width: channels H.
        state_size: N, half of it in pairs.
        initial: eigenvalues to begin with.
        shared: all channels have the eigenvalues in common.
        directions: 2 for a second kernel that looks back from the future.
    """

    def __init__(self, width: int, state_size: int, initial: Initial, *, shared: bool, directions: int = 1) -> None:
        super().__init__()
        self.real = initial == "real"
        values = diagonal_initial(initial, state_size).expand(1 if shared else width, -1)
        self.log_step = nn.Parameter(_first_steps(width))
        self.log_decay = nn.Parameter((-values.real).log().float())
        if not self.real:
            self.frequency = nn.Parameter(values.imag.float().clone())
        self.output = nn.Parameter(_first_output(directions, width, values.shape[-1]))

    def forward(self, length: int) -> Tensor:
        """Return the kernels [D, H, length]."""
        exponent, c = self._discrete()
        return _powers(exponent, c, length)

    def recurrence(self) -> Recurrence:
        """Return the same as a recurrence."""
        exponent, c = self._discrete()
        a = exponent.exp()
        return Recurrence(a, torch.ones_like(a), c)

    def _discrete(self) -> tuple[Tensor, Tensor]:
        """Dt A [H, N] and C Bbar [D, H, N] with the weight of a pair."""
        real = -self.log_decay.exp()
        values = torch.complex(real, torch.zeros_like(real) if self.real else self.frequency)  # [1 or H, N]
        exponent = self.log_step.exp()[:, None] * values
        c = torch.view_as_complex(self.output) * (exponent.exp() - 1) / values
        return exponent, c if self.real else 2 * c


class LowRankKernel(nn.Module):
    """S4: A = Lambda - p p*, discretised by the bilinear rule, from HiPPO-LegS.

    The kernel's generating function at the roots of unity is a sum over the states, corrected by Woodbury's identity for the
    low-rank part (S4, section 3.3); C itself is the parameter, so the length is free.
    """

    def __init__(self, width: int, state_size: int, *, shared: bool, directions: int = 1) -> None:
        super().__init__()
        systems = 1 if shared else width
        values, p, first = (each.expand(systems, -1) for each in hippo_legs(state_size))
        self.log_step = nn.Parameter(_first_steps(width))
        self.log_decay = nn.Parameter((-values.real).log().float())
        self.frequency = nn.Parameter(values.imag.float().clone())
        self.low_rank = nn.Parameter(torch.view_as_real(p.to(torch.complex64)).clone())
        self.input = nn.Parameter(torch.view_as_real(first.to(torch.complex64)).clone())
        self.output = nn.Parameter(_first_output(directions, width, values.shape[-1]))

    def _continuous(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Dt [H, 1], Lambda, p and B, each [1 or H, N], C [D, H, N]."""
        values = torch.complex(-self.log_decay.exp(), self.frequency)
        p, b = torch.view_as_complex(self.low_rank), torch.view_as_complex(self.input)
        return self.log_step.exp()[:, None], values, p, b, torch.view_as_complex(self.output)

    def forward(self, length: int) -> Tensor:
        """Return the kernels [D, H, length]."""
        step, values, p, b, c = self._continuous()
        c = self._truncated(c, length)
        turns = torch.arange(length // 2 + 1, dtype=step.dtype, device=step.device) / length
        root = torch.polar(torch.ones_like(turns), -2 * math.pi * turns)  # [F]
        near, far = 1 - root, (1 + root) * step / 2  # [F], [H, F]; at each root (near - far A) x = dt B
        near, far = near[None, :, None], far[..., None]
        poles = 1 / (
            near.square() - 2 * near * far * values.real[:, None] + (far * values[:, None].abs()).square()
        )  # [H, F, N]
        # A pair contributes v / (near - far lambda) and the conjugates: 2 (near Re v - far Re(v conj lambda)) times its pole.
        pairs = torch.stack([*(row * b for row in c), *(row * p for row in c), p.conj() * b.expand_as(c[0]),
                             p.conj() * p.expand_as(c[0])], -1)  # fmt: skip  # [H, N, 2 D + 2]
        weights = torch.cat((pairs.real, (pairs * values.conj()[..., None]).real), -1).to(poles.dtype)
        plain, turned = (2 * poles @ weights).chunk(2, -1)  # each [H, F, 2 D + 2]
        sums = near * plain - far * turned
        ours, through, entering, loop = sums.tensor_split([len(c), 2 * len(c), 2 * len(c) + 1], -1)
        spectrum = step[..., None] * (ours - far * through * entering / (1 + far * loop))  # [H, F, D]
        return torch.fft.irfft(spectrum.movedim(-1, 0), n=length)

    def recurrence(self) -> Recurrence:
        """Return the same as a recurrence: Woodbury's identity once more, so that a step takes O(N)."""
        step, values, p, b, c = self._continuous()
        inverse = 1 / (2 / step - values)  # [H, N]
        a = inverse * (2 / step + values)
        loop = 2 * (p.conj() * inverse * p).real.sum(-1, keepdim=True)  # [H, 1]
        f = 2 * p.conj() * (1 + a) / (1 + loop)
        entering = 2 * (p.conj() * inverse * 2 * b).real.sum(-1) / (1 + loop[:, 0])
        return Recurrence(a, 2 * inverse * b, 2 * c, h=inverse * p, f=f, g=entering)

    def _truncated(self, c: Tensor, length: int) -> Tensor:
        """C (1 - Abar^length): the kernel that ends there, [D, H, N]."""
        matrix, row = self._dense(), torch.cat((c.real, -c.imag), -1).transpose(0, 1)  # [H, 2 N, 2 N], [H, D, 2 N]
        cut, left = row, length
        while left:
            if left & 1:
                cut = cut @ matrix
            matrix, left = matrix @ matrix, left >> 1
        real, imaginary = (row - cut).transpose(0, 1).chunk(2, -1)
        return torch.complex(real, -imaginary)

    @torch.no_grad()
    def untruncated(self, length: int) -> Tensor:
        """The output [D, H, N, 2] of which the present one is C (1 - Abar^length), the form that is published."""
        c = torch.view_as_complex(self.output)
        row = torch.cat((c.real, -c.imag), -1).transpose(0, 1)  # [H, D, 2 N]
        one = torch.eye(row.shape[-1], dtype=row.dtype, device=row.device)
        whole = torch.linalg.solve(one - torch.linalg.matrix_power(self._dense(), length), row, left=False)
        real, imaginary = whole.transpose(0, 1).chunk(2, -1)
        return torch.stack((real, -imaginary), -1)

    def _dense(self) -> Tensor:
        """Abar [H, 2 N, 2 N] for states whose real and imaginary parts are stacked."""
        step, values, p, _, _ = self._continuous()
        stacked = torch.cat((p.real, p.imag), -1)
        matrix = torch.diag_embed(torch.cat((values.real, values.real), -1))
        half = values.shape[-1]
        turn = torch.diag_embed(values.imag)
        matrix = matrix + nn.functional.pad(turn, (0, half, half, 0)) - nn.functional.pad(turn, (half, 0, 0, half))
        matrix = (matrix - 2 * stacked[:, :, None] * stacked[:, None]) * step[..., None] / 2  # [H, 2 N, 2 N]
        one = torch.eye(2 * half, dtype=matrix.dtype, device=matrix.device)
        return torch.linalg.solve(one - matrix, one + matrix)


class StateSpace(nn.Module):
    """One state-space system a channel, and a skip D.

    Args:
        width: channels H.
        state_size: N.
        kernel: "s4", or the initialisation of an S4D: "lin", "inv", "real", "legs".
        shared: the channels have A and B in common; each has its own step and C.
        bidirectional: a second kernel looks back from the future; then it cannot be stepped.
        taps: the kernels end after so many samples; 0: never. Those that end cannot be stepped.
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        kernel: Initial | Literal["s4"],
        *,
        shared: bool = False,
        bidirectional: bool = False,
        taps: int = 0,
    ) -> None:
        super().__init__()
        self.taps = taps
        directions = 2 if bidirectional else 1
        self.kernel: DiagonalKernel | LowRankKernel
        if kernel == "s4":
            self.kernel = LowRankKernel(width, state_size, shared=shared, directions=directions)
        else:
            self.kernel = DiagonalKernel(width, state_size, kernel, shared=shared, directions=directions)
        self.skip = nn.Parameter(torch.randn(width))

    def forward(self, u: Tensor) -> Tensor:
        """Map u [B, L, H] to [B, L, H]; in float32 even where the rest is half precision."""
        with torch.autocast(u.device.type, enabled=False):
            u = u.to(self.skip.dtype).transpose(1, 2)  # [B, H, L]
            kernels = self.kernel(min(self.taps or u.shape[-1], u.shape[-1]))
            y = _convolve(u, kernels) + self.skip[:, None] * u
        return y.transpose(1, 2).contiguous()  # what follows is twice as fast on rows of channels

    def recurrence(self) -> Recurrence:
        """Return the recurrence that computes the same sample by sample; D comes on top.

        Raises:
            ValueError: it is bidirectional, or its kernel ends.
        """
        if len(self.kernel.output) > 1 or self.taps:
            raise ValueError("a state space that sees the future, or whose kernel ends, cannot be stepped")
        return self.kernel.recurrence()


def _first_steps(width: int) -> Tensor:
    low, high = (math.log(bound) for bound in STEP_RANGE)
    return low + (high - low) * torch.rand(width)


def _first_output(directions: int, width: int, states: int) -> Tensor:
    return torch.randn(directions, width, states, 2) * 0.5**0.5


def _powers(exponent: Tensor, c: Tensor, length: int) -> Tensor:
    """Re sum_n c_n exp(l exponent_n) for l < length: exponent [H, N], c [D, H, N] complex to [D, H, length].

    l = r S + s, so only about 2 sqrt(length) powers of each state are computed and a product of matrices does the rest.
    """
    size = math.isqrt(length - 1) + 1
    rows = -(-length // size)
    inner, outer = _power(exponent, range(size)), c[..., None] * _power(exponent, range(0, rows * size, size))
    left = torch.cat((outer.real, -outer.imag), -2).transpose(-1, -2)  # [D, H, R, 2 N]
    right = torch.cat((inner.real, inner.imag), -2)  # [H, 2 N, S]
    return (left @ right).flatten(-2)[..., :length]


def _power(exponent: Tensor, powers: range) -> Tensor:
    """exp(l exponent) [H, N, len(powers)]; angles are reduced in float64, where a long way round is still exact."""
    count = torch.arange(powers.start, powers.stop, powers.step, dtype=torch.float64, device=exponent.device)
    angle = (exponent.imag.double()[..., None] * count).remainder(2 * math.pi)
    real = exponent.real[..., None] * count.to(exponent.real.dtype)
    return torch.polar(real.exp(), angle.to(real.dtype))


def _convolve(u: Tensor, kernels: Tensor) -> Tensor:
    """Causal convolution of u [B, H, L] with kernels [1 or 2, H, K], K <= L, by FFT without wrapping round.

    The second kernel looks back from the future: its entry l weighs the sample l + 1 ahead.
    """
    length = u.shape[-1]
    size = _fast_size(length + kernels.shape[-1])
    kernel = nn.functional.pad(kernels[0], (0, size - kernels.shape[-1]))
    if len(kernels) == 2:
        kernel = kernel + nn.functional.pad(kernels[1].flip(-1), (size - kernels.shape[-1], 0))
    y: Tensor = _Convolution.apply(u, kernel)
    return y


class _Convolution(torch.autograd.Function):
    """Circular convolution of u [B, H, L], then zeros, with kernels [H, S], its first L samples.

    By hand because its gradients are such convolutions as well, which automatic differentiation makes of complex FFTs.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor) -> Tensor:
        ctx.size = size = kernel.shape[-1]
        spectra = torch.fft.rfft(u, n=size), torch.fft.rfft(kernel)
        ctx.save_for_backward(*spectra)
        return torch.fft.irfft(spectra[0] * spectra[1], n=size)[..., : u.shape[-1]]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        u, kernel = ctx.saved_tensors
        spectrum = torch.fft.rfft(gradient, n=ctx.size)
        of_u = torch.fft.irfft(spectrum * kernel.conj(), n=ctx.size)[..., : gradient.shape[-1]]
        return of_u, torch.fft.irfft((spectrum * u.conj()).sum(0), n=ctx.size)


def _fast_size(least: int) -> int:
    """8 to 16 times a power of two, at least `least`: with a large prime in its size an FFT takes five times as long."""
    block = 1 << max(0, least.bit_length() - 4)
    return -(-least // block) * block
