"""Figures of editing: what is proposed, the noise outside of what was changed, and edits that are good, bad or impossible."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from speechgen.audio.io import Recording, read_audio, write_audio
from speechgen.core.errors import UserError
from speechgen.evaluation.editing import KINDS, Said, Stretch, evaluate_editing, propose, snr_outside

TEXTS = [
    "The old house beside the river was empty again.",
    "Nobody believed that the captain would ever return home.",
    "Seven students walked slowly through the frozen garden.",
    "Her brother never answered that strange letter from London.",
    "We counted twelve ships before the evening became dark.",
    "Please remember to close every window after dinner.",
    "She lives in room 12 beside the river now.",
    "Too short, really.",
    "The grblfx was there again this evening they say.",
]


def said(tmp_path, texts=TEXTS):
    return [Said(tmp_path / f"{number}.wav", f"speaker {number % 2}", text) for number, text in enumerate(texts)]


def test_edits_are_drawn_from_the_texts_that_can_be_judged(tmp_path):
    pytest.importorskip("pocketsphinx")
    found = propose(said(tmp_path))
    assert [proposal.said.path.name for proposal in found] == [f"{number}.wav" for number in range(6)]
    assert [proposal.kind for proposal in found] == [*KINDS, *KINDS[:2]]
    for proposal in found:
        old, new = Counter(proposal.old.split()), Counter(proposal.new.split())
        gone, come = sum((old - new).values()), sum((new - old).values())
        assert (gone, come) == {"replaced": (1, 1), "put in": (0, 1), "taken out": (1, 0), "two places": (2, 2)}[proposal.kind]
        assert sorted((new - old).elements()) == sorted(proposal.words)
    assert propose(said(tmp_path)) == found != propose(said(tmp_path), seed=1)


def recording(samples):
    return Recording(samples, 1000, "PCM_16")


def test_noise_is_measured_outside_of_the_stretches_alone():
    before = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0))
    after = torch.cat((before[:, :1000], torch.zeros(1, 700), before[:, 1500:]), dim=1)
    stretch = [Stretch(1.0, 1.5, 1.0, 1.7)]
    assert snr_outside(recording(before), recording(after), stretch) == float("inf")
    after[:, 2000:] *= 1.001
    share = float(before[:, 1800:].square().sum() / (before.square().sum() - before[:, 1000:1500].square().sum()))
    wanted = 60 - 10 * torch.tensor(share).log10()
    assert snr_outside(recording(before), recording(after), stretch) == pytest.approx(float(wanted), abs=0.1)
    with pytest.raises(UserError, match="lasts 1 samples longer"):
        snr_outside(recording(before), recording(torch.cat((after, torch.zeros(1, 1)), dim=1)), stretch)


@pytest.fixture
def spoken(tmp_path, repository):
    """Two natural recordings with what they say."""
    for package in ("pocketsphinx", "jiwer", "resemblyzer"):
        pytest.importorskip(package)
    says = json.loads((repository / "app/examples/voices.json").read_text(encoding="utf-8"))
    found = []
    for name in ("kathleen", "marcus"):
        audio = read_audio(repository / f"app/examples/{name}.flac")
        write_audio(tmp_path / f"{name}.wav", audio.samples[0], audio.rate)
        found.append(Said(tmp_path / f"{name}.wav", name, says[name]["text"]))
    return found


def test_an_edit_that_changes_nothing_is_exact_but_says_the_wrong_word(spoken):
    def lazy(path, old, new, target):
        target.write_bytes(path.read_bytes())
        return [Stretch(1.0, 1.0, 1.0, 1.0)], 0.5

    told = []
    report = evaluate_editing(lazy, propose(spoken), settings="lazy", progress=lambda *done: told.append(done))
    figures = report.overall
    assert figures.n == 2 and figures.snr is None and figures.sim == pytest.approx(1.0, abs=1e-4) and figures.seconds == 0.5
    assert figures.wer > figures.wer_before and figures.wer_before < 0.1 and figures.understood == 0.0
    assert figures.sim_new is None and told == [(1, 2), (2, 2)]
    assert "| exact |" in report.table() and json.loads(report.to_json())["overall"]["snr"] is None


def test_what_cannot_be_edited_is_told_and_nothing_at_all_is_an_error(spoken):
    def half(path, old, new, target):
        if path.stem == "marcus":
            raise UserError("it says something else")
        target.write_bytes(path.read_bytes())
        return [Stretch(0.5, 1.5, 0.5, 1.5)], 0.5

    report = evaluate_editing(half, propose(spoken), settings="half")
    assert report.overall.n == 1 and report.skipped == ("not edited, marcus.wav: it says something else",)
    assert report.overall.sim_new == report.overall.sim_old is not None
    assert report.table().endswith("not edited, marcus.wav: it says something else")

    def never(path, old, new, target):
        raise UserError("no")

    with pytest.raises(UserError, match="nothing could be edited: not edited, kathleen.wav: no"):
        evaluate_editing(never, propose(spoken), settings="never")
    with pytest.raises(UserError, match="no recording can be judged"):
        evaluate_editing(half, [], settings="none")
