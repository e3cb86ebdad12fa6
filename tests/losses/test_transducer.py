"""The transducer losses against enumeration of every path, against torchaudio, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor
from torchaudio.functional import rnnt_loss

from speechgen.losses.transducer import additive_loss, choose_windows, transducer_loss

CLASSES = 3


def lattice(batch: int, rows: int, labels: int, seed: int = 0, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Random logits [B, S, U + 1, K + 1] in float64 and tokens [B, U]."""
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, rows, labels + 1, classes + 1, generator=rng, dtype=torch.float64)
    return logits, torch.randint(classes, (batch, labels), generator=rng)


def paths(rows: int, labels: int, row: int = 0, label: int = 0) -> Iterator[list[tuple[int, int, bool]]]:
    """Every monotonic path as moves (row, label, whether it emits); the last move is the blank that ends the last row."""
    if label < labels:
        for rest in paths(rows, labels, row, label + 1):
            yield [(row, label, True), *rest]
    if row == rows - 1:
        if label == labels:
            yield [(row, label, False)]
    else:
        for rest in paths(rows, labels, row + 1, label):
            yield [(row, label, False), *rest]


def enumerate_loss(logits: Tensor, tokens: Tensor, starts: list[int] | None = None, width: int = 99) -> Tensor:
    """Slow and obvious: minus the log of the summed probabilities of all paths that stay inside the windows. One utterance."""
    scores = logits.log_softmax(-1)
    rows, labels = len(logits), len(tokens)
    starts = starts or [0] * rows
    inside = [p for p in paths(rows, labels) if all(starts[s] <= u < starts[s] + width for s, u, _ in p)]
    sums = [torch.stack([scores[s, u, tokens[u] if emits else -1] for s, u, emits in path]).sum() for path in inside]
    return -torch.stack(sums).logsumexp(0)


def lengths(*values: int) -> Tensor:
    return torch.tensor(values)


def test_the_enumeration_finds_every_path():
    """C(T + U - 1, U) of them."""
    assert len(list(paths(4, 4))) == 35
    assert len(list(paths(4, 5))) == 56


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("labels", [0, 1, 2, 3, 4])
def test_loss_equals_the_sum_over_all_paths(rows, labels):
    logits, tokens = lattice(1, rows, labels, seed=10 * rows + labels)
    loss = transducer_loss(logits, tokens, lengths(rows), lengths(labels))
    torch.testing.assert_close(loss * max(1, labels), enumerate_loss(logits[0], tokens[0]), rtol=0, atol=1e-9)


def test_without_tokens_the_loss_is_that_of_moving_on():
    logits, tokens = lattice(1, 4, 0)
    expected = -logits.log_softmax(-1)[0, :, 0, -1].sum()
    torch.testing.assert_close(transducer_loss(logits, tokens, lengths(4), lengths(0)), expected)


def test_one_symbol_is_a_chain_of_cross_entropies():
    logits, tokens = lattice(1, 1, 5)
    targets = torch.cat((tokens[0], lengths(CLASSES)))  # the last is blank
    expected = torch.nn.functional.cross_entropy(logits[0, 0], targets, reduction="sum")
    torch.testing.assert_close(transducer_loss(logits, tokens, lengths(1), lengths(5)) * 5, expected)


def test_padded_rows_count_as_they_do_alone():
    logits, tokens = lattice(3, 4, 4)
    text, labels = (4, 2, 3), (2, 4, 0)
    alone = [enumerate_loss(logits[i, :s, : u + 1], tokens[i, :u]) for i, (s, u) in enumerate(zip(text, labels, strict=True))]
    loss = transducer_loss(logits, tokens, lengths(*text), lengths(*labels))
    torch.testing.assert_close(loss * sum(labels), torch.stack(alone).sum(), rtol=0, atol=1e-9)


def test_padded_cells_get_no_gradient_and_every_cell_sums_to_zero():
    logits, tokens = lattice(2, 4, 4)
    logits.requires_grad_()
    transducer_loss(logits, tokens, lengths(4, 2), lengths(3, 4)).backward()
    gradient = logits.grad
    assert gradient[0, :, 4:].eq(0).all() and gradient[1, 2:].eq(0).all()
    assert gradient[0, :, :4].ne(0).any(-1).any() and gradient.isfinite().all()
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(2, 4, 5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences():
    logits, tokens = lattice(2, 3, 3)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: transducer_loss(x, tokens, lengths(3, 2), lengths(3, 2)), logits)


def test_loss_and_gradients_equal_torchaudio():
    logits, tokens = lattice(3, 6, 20, classes=12)
    text, labels = lengths(6, 4, 1), lengths(20, 7, 13)
    ours, theirs = (logits.float().requires_grad_() for _ in range(2))
    loss = transducer_loss(ours, tokens, text, labels)
    reference = rnnt_loss(theirs, tokens.int(), text.int(), labels.int(), blank=12, reduction="sum") / labels.sum()
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_a_long_lattice_of_confident_scores_stays_finite():
    logits, tokens = lattice(1, 40, 600)
    logits = (50 * logits).float().requires_grad_()
    loss = transducer_loss(logits, tokens, lengths(40), lengths(600))
    reference = rnnt_loss(logits, tokens.int(), lengths(40).int(), lengths(600).int(), blank=CLASSES, reduction="sum") / 600
    loss.backward()
    torch.testing.assert_close(loss, reference, rtol=1e-3, atol=1e-3)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("starts", [[0, 1, 2, 2], [0, 0, 1, 2], [0, 2, 2, 2]])
def test_windowed_loss_equals_the_sum_over_the_paths_inside(starts):
    logits, tokens = lattice(1, 4, 4)
    cells = torch.tensor(starts)[:, None] + torch.arange(3)
    windowed = logits[0].gather(1, cells[..., None].expand(-1, -1, CLASSES + 1))[None].requires_grad_()
    loss = transducer_loss(windowed, tokens, lengths(4), lengths(4), torch.tensor([starts]))
    torch.testing.assert_close(loss * 4, enumerate_loss(logits[0], tokens[0], starts, width=3), rtol=0, atol=1e-9)
    loss_of = partial(transducer_loss, tokens=tokens, text_lengths=lengths(4), token_lengths=lengths(4))
    assert torch.autograd.gradcheck(lambda x: loss_of(x, starts=torch.tensor([starts])), windowed)


def additive(batch: int, rows: int, labels: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, rows, CLASSES + 1, generator=rng),
        torch.randn(batch, labels + 1, CLASSES + 1, generator=rng),
        torch.randint(CLASSES, (batch, labels), generator=rng),
    )


def test_additive_loss_and_gradients_equal_the_loss_of_the_whole_lattice():
    text, labels = lengths(4, 3), lengths(5, 2)
    by_row, by_label, tokens = additive(2, 4, 5)
    ours = [by_row.clone().requires_grad_(), by_label.clone().requires_grad_()]
    theirs = [by_row.clone().requires_grad_(), by_label.clone().requires_grad_()]
    loss = additive_loss(*ours, tokens, text, labels).loss
    reference = transducer_loss(theirs[0][:, :, None] + theirs[1][:, None], tokens, text, labels)
    torch.testing.assert_close(loss, reference)
    for one, other in zip(torch.autograd.grad(loss, ours), torch.autograd.grad(reference, theirs), strict=True):
        torch.testing.assert_close(one, other)


def test_occupation_is_the_share_of_the_paths_through_a_cell():
    by_row, by_label, tokens = additive(1, 3, 3)
    scores = (by_row[0, :, None] + by_label[0, None]).log_softmax(-1)
    expected = torch.zeros(3, 4)
    for path in paths(3, 3):
        probability = torch.stack([scores[s, u, tokens[0, u] if emits else -1] for s, u, emits in path]).sum().exp()
        for s, u, _ in path:
            expected[s, u] += probability
    occupation = additive_loss(by_row, by_label, tokens, lengths(3), lengths(3)).occupation[0]
    torch.testing.assert_close(occupation, expected / expected[-1, -1])


@pytest.mark.parametrize("seed", range(5))
def test_windows_always_leave_a_path(seed):
    """The first starts at 0, neighbours overlap, none goes back, the last real one holds the last label."""
    rng = torch.Generator().manual_seed(seed)
    rows, labels = lengths(9, 5, 7), lengths(30, 12, 4)
    width = 7  # more than U / S + 1
    occupation = torch.rand(3, 9, 31, generator=rng).square()
    starts = choose_windows(occupation, rows, labels, width)
    steps = starts.diff(dim=1)
    assert starts[:, 0].eq(0).all() and steps.ge(0).all() and steps.lt(width).all()
    last = starts[torch.arange(3), rows - 1]
    assert (last <= labels).all() and (last + width > labels).all()
    logits, tokens = lattice(3, 9, width - 1)
    loss = transducer_loss(logits, torch.zeros(3, 30, dtype=torch.long), rows, labels, starts)
    assert 0 < loss < 100


def test_windows_hold_the_end_even_if_the_last_symbol_speaks_longer_than_they_are_wide():
    """Every cell of the last row is then as occupied as the end itself."""
    occupation = torch.zeros(1, 4, 21)
    occupation[0, 3] = 1
    starts = choose_windows(occupation, lengths(4), lengths(20), 8)
    assert starts.tolist() == [[0, 0, 6, 13]]


def test_windows_follow_the_occupation():
    occupation = torch.zeros(1, 4, 21)
    for row, (low, high) in enumerate([(0, 3), (3, 10), (10, 15), (15, 21)]):
        occupation[0, row, low : high + 1] = 1
    starts = choose_windows(occupation, lengths(4), lengths(20), 8)[0]
    assert starts.tolist() == [0, 3, 8, 13]


def test_windows_as_wide_as_the_lattice_start_at_zero():
    assert choose_windows(torch.rand(2, 3, 5), lengths(3, 3), lengths(4, 4), 5).eq(0).all()


def test_the_additive_loss_is_as_exact_under_autocast():
    """Its normaliser is a matrix product, which autocast would round to bf16."""
    text, tokens = torch.randn(1, 3, 5), torch.randn(1, 5, 5)
    labels, lengths = torch.tensor([[0, 1, 2, 3]]), (torch.tensor([3]), torch.tensor([4]))
    exact = additive_loss(text, tokens, labels, *lengths)
    with torch.autocast("cpu", torch.bfloat16):
        under = additive_loss(text, tokens, labels, *lengths)
    assert torch.equal(under.loss, exact.loss) and torch.equal(under.occupation, exact.occupation)
