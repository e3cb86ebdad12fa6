"""Dialogues: scripts are read as people write them, turns lie where they are said to lie."""

import pytest
import torch

from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.codec_stages import CodecStages
from speechgen.pipeline.pipeline import Pipeline
from speechgen.service.dialogue import GAP_SECONDS, Turn, _join, read_script, speak_dialogue
from speechgen.service.engine import Engine
from speechgen.service.results import SynthesisResult
from tests.tiny import RATE, voice_like

SCRIPT = """\ufeff# Two people meet.
A: Hello there,
at 10:30 sharp:  see you?
   note: indented lines are no turns

Bob-2: Yes.
# aside
A:
Good.
"""


def test_turns_continuations_and_comments_are_read():
    turns = read_script(SCRIPT.lstrip("\ufeff"), ["A", "Bob-2"])
    assert turns == [
        Turn(2, "A", "Hello there, at 10:30 sharp:  see you? note: indented lines are no turns"),
        Turn(6, "Bob-2", "Yes."),
        Turn(8, "A", "Good."),
    ]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("A: Hi.\nC: Hm.", r"line 2: unknown speaker 'C': known: A, B; give --voice C=voice.wav"),
        ("Hi.\nA: Hm.", "line 1: nobody speaks it"),
        ("A: Hi.\nB:\nA: Hm.", "line 2: B has nothing to say"),
        ("A: ...", "line 1: A has nothing to say"),
        ("# nothing\n\n", "holds no turns"),
    ],
)
def test_a_script_that_cannot_be_spoken_names_the_line(script, message):
    with pytest.raises(UserError, match=message):
        read_script(script, ["B", "A"])


@pytest.fixture
def speakers(home, tmp_path):
    write_audio(tmp_path / "a.wav", voice_like(2.0, pitch=200.0), RATE)
    return {"A": str(tmp_path / "a.wav"), "B": "buzz"}


TURNS = read_script("A: Hello there.\nB: Yes.\nA: Hello there.", ["A", "B"])


def speak(speakers, **options):
    return speak_dialogue(Engine("cpu"), TURNS, speakers, options={"pipeline": "tiny"}, **options)


def test_the_same_seed_gives_the_same_sound_and_every_turn_its_own(speakers):
    first, second = speak(speakers, seed=3), speak(speakers, seed=3)
    assert torch.equal(first.result.samples, second.result.samples) and first.turns == second.turns
    assert first.result.seed == 3 and first.result.provenance.endswith("seed 3")
    assert first.turns[0].end - first.turns[0].start != first.turns[2].end - first.turns[2].start


def test_each_voice_is_encoded_once(speakers, monkeypatch):
    encoded = []
    encode = Pipeline.reference
    monkeypatch.setattr(Pipeline, "reference", lambda *a, **options: encoded.append(1) or encode(*a, **options))
    speak(speakers, seed=0)
    assert len(encoded) == 2


@pytest.mark.parametrize("gap", [0.0, 0.05, GAP_SECONDS, 2.0])
def test_turns_lie_where_they_are_said_to_lie_with_the_gap_between_them(gap):
    def result(*seconds):
        before, sound, behind = (int(part * RATE) for part in seconds)
        tone = 0.1 * torch.sin(torch.arange(sound) * 0.2)
        samples = torch.cat([torch.zeros(before), tone, torch.zeros(behind)])
        piece = Alignment("", "en-us", (), torch.zeros(0), torch.zeros(0), 1, 1.0, start=seconds[0])  # where the tone begins
        return SynthesisResult(samples, RATE, 0, "tiny", "v", "cpu", 1, 0.0, 1.0, alignment=(piece,))

    joined = _join(TURNS, [result(0.2, 1.0, 0.0), result(0.0, 0.5, 0.4), result(0.01, 0.7, 0.01)], gap)
    samples, turns = joined.samples, joined.turns
    assert [piece.start for piece in joined.alignment] == pytest.approx([turn.start for turn in turns], abs=0.011)
    for turn, seconds in zip(turns, (1.0, 0.5, 0.7), strict=True):
        assert turn.end - turn.start == pytest.approx(seconds, abs=0.011)
        assert samples[int((turn.start + 0.02) * RATE) : int((turn.end - 0.02) * RATE)].abs().mean() > 0.05
    for left, right in zip(turns, turns[1:], strict=False):
        assert right.start - left.end == pytest.approx(gap, abs=2e-3)
        assert samples[int((left.end + 0.011) * RATE) : int((right.start - 0.011) * RATE)].abs().sum() == 0
    assert len(samples) / RATE == pytest.approx(turns[-1].end, abs=0.06)


def test_what_cannot_be_used_is_refused_before_loading(speakers, monkeypatch, tmp_path):
    monkeypatch.setattr(Engine, "load", lambda *arguments: pytest.fail("models were loaded"))
    with pytest.raises(UserError, match="out of range: allowed: 0 to 10"):
        speak(speakers, gap=11)
    with pytest.raises(UserError, match="did you mean 'buzz'"):
        speak({**speakers, "B": "buz"})
    with pytest.raises(UserError, match="no such audio file"):
        speak({**speakers, "B": str(tmp_path / "none.wav")})


def test_a_pipeline_through_codes_speaks_all_turns_in_one_generation(speakers, monkeypatch):
    calls = []
    together = CodecStages.together
    monkeypatch.setattr(CodecStages, "together", lambda self, tasks: (calls.append(len(tasks)), together(self, tasks))[1])
    spoken = speak_dialogue(Engine("cpu"), TURNS, speakers, options={"pipeline": "tiny-codes"}, seed=3)
    assert calls == [3] and [turn.speaker for turn in spoken.turns] == ["A", "B", "A"]
    assert all(one.end <= two.start for one, two in zip(spoken.turns, spoken.turns[1:], strict=False))
    assert spoken.result.samples.isfinite().all() and spoken.result.pipeline == "tiny-codes"
    again = speak_dialogue(Engine("cpu"), TURNS, speakers, options={"pipeline": "tiny-codes"}, seed=3)
    assert torch.equal(spoken.result.samples, again.result.samples)


def test_more_voices_than_speak_in_one_generation_are_spoken_turn_by_turn_and_that_is_said(speakers, monkeypatch):
    monkeypatch.setattr(CodecStages, "speakers", 1)
    spoken = speak_dialogue(Engine("cpu"), TURNS, speakers, options={"pipeline": "tiny-codes"}, seed=3)
    assert len(spoken.turns) == 3 and not any("too many voices" in line for line in spoken.result.warnings)
    converses = property(lambda self: isinstance(self.stages, CodecStages))
    monkeypatch.setattr(Pipeline, "converses", converses)
    spoken = speak_dialogue(Engine("cpu"), TURNS, speakers, options={"pipeline": "tiny-codes"}, seed=3)
    assert len(spoken.turns) == 3 and any("too many voices" in line for line in spoken.result.warnings)
