"""Audio files: what can be read comes back as it was, what cannot is one clear line, nothing is ever half written."""

from __future__ import annotations

import resource
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgen.audio.io import FORMATS, Limits, decode_audio, read_audio, write_audio
from speechgen.audio.ogg import fix_positions, fix_serial
from speechgen.core.errors import UserError

RATE = 24000


def tone(seconds: float = 0.5, rate: int = RATE) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)])
def test_what_is_written_can_be_read(tmp_path, suffix, tolerance):
    path = tmp_path / f"a.{suffix}"
    write_audio(path, tone(), RATE, comment="made here")
    audio = read_audio(path)
    assert audio.rate == RATE and audio.samples.dtype == torch.float32
    assert audio.samples.shape == (1, audio.lengths[0])
    size = min(audio.samples.shape[1], len(tone()))
    assert abs(audio.samples.shape[1] - len(tone())) <= 0.1 * RATE  # mp3 pads
    level = float(audio.samples.square().mean().sqrt() / tone().square().mean().sqrt())
    assert level == pytest.approx(1, abs=0.06) and size > 0
    if suffix in ("wav", "flac", "ogg"):
        torch.testing.assert_close(audio.samples[0, :size], tone()[:size], rtol=0, atol=tolerance)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_the_same_samples_give_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        write_audio(tmp_path / f"{name}.{suffix}", tone(), RATE, comment="seed 1")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_no_samples_and_one_sample_can_be_written(tmp_path, suffix):
    for count in (0, 1):
        write_audio(tmp_path / f"{count}.{suffix}", torch.zeros(count), RATE)
        assert (tmp_path / f"{count}.{suffix}").is_file()


def test_samples_are_clipped_not_wrapped(tmp_path):
    write_audio(tmp_path / "a.wav", torch.tensor([2.0, -2.0, 0.0]), RATE)
    torch.testing.assert_close(read_audio(tmp_path / "a.wav").samples[0], torch.tensor([1.0, -1.0, 0.0]), rtol=0, atol=1e-4)


def test_stereo_is_averaged_and_8_khz_keeps_its_rate(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack((np.full(800, 0.5), np.full(800, -0.25)), axis=1), 8000)
    audio = read_audio(path)
    assert audio.rate == 8000 and audio.seconds == 0.1
    torch.testing.assert_close(audio.samples, torch.full((1, 800), 0.125), rtol=0, atol=1e-4)


def test_float_files_beyond_full_scale_are_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([3.0, -3.0], np.float32), RATE, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav").samples.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, value, 0.0], np.float32), RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="a.wav holds NaN or infinite samples"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "content", [b"", b"not audio at all" * 50, b"RIFF\x00\x00\x00\x00WAVE"], ids=["no bytes", "text", "header"]
)
def test_what_is_not_audio_is_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match="a.wav is not readable audio.*give wav, flac") as caught:
        read_audio(tmp_path / "a.wav")
    assert "\n" not in str(caught.value)


def test_a_file_without_samples_a_folder_and_nothing_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with pytest.raises(UserError, match="holds no samples"):
        read_audio(tmp_path / "a.wav")
    for path in (tmp_path, tmp_path / "none.wav"):
        with pytest.raises(UserError, match="no such audio file"):
            read_audio(path)


def test_too_long_a_file_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.wav", tone(2.0), RATE)
    assert read_audio(tmp_path / "a.wav", max_seconds=2.0).seconds == 2.0
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *arguments, **options: pytest.fail("was decoded"))
    with pytest.raises(UserError, match=r"lasts 2.0 s, at most 1.5 s are allowed"):
        read_audio(tmp_path / "a.wav", max_seconds=1.5)


def test_a_wav_cut_in_half_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, tone(), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0.2 < read_audio(path).seconds < 0.3


@pytest.mark.parametrize("name", ["a.txt", "a", "a.wav.bak"])
def test_an_unknown_format_lists_the_known_ones(tmp_path, name):
    with pytest.raises(UserError, match="formats are wav, flac, ogg, mp3"):
        write_audio(tmp_path / name, tone(), RATE)
    write_audio(tmp_path / name, tone(), RATE, format="wav")
    assert read_audio(tmp_path / name).rate == RATE


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        write_audio(tmp_path / "none" / "a.wav", tone(), RATE)


@pytest.mark.parametrize("suffix", list(FORMATS))
@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_half_written_file_is_never_visible(tmp_path, monkeypatch, suffix, step):
    """The disk fills while the bytes are written, or refuses the rename: the old file stays and nothing lies beside it."""
    path = tmp_path / f"a.{suffix}"
    write_audio(path, tone(), RATE)
    before = path.read_bytes()

    def refuse(self: Path, argument: object) -> None:
        raise OSError(28, "No space left on device")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if step == "write":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    else:
        monkeypatch.setattr(Path, step, refuse)
    try:
        with pytest.raises(UserError, match="cannot write .*(No space left|File too large)"):
            write_audio(path, tone(1.0), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_written_as_noise(tmp_path, value):
    with pytest.raises(UserError, match="NaN or infinite"):
        write_audio(tmp_path / "a.wav", torch.tensor([0.1, value]), RATE)
    assert not list(tmp_path.iterdir())


def opus_pages(content: bytes) -> list[bytearray]:
    """Cut by the marks of pages; the sound of these tests holds none."""
    return [bytearray(b"OggS" + page) for page in content.split(b"OggS")[1:]]


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_an_opus_file_whose_positions_do_not_add_up_is_read_all_the_same(tmp_path, rate):
    """As some encoders write it: a page in the middle claims a part of a packet more than its packets hold."""
    good, bad = tmp_path / "good.opus", tmp_path / "bad.opus"
    soundfile.write(good, 0.3 * np.sin(np.arange(4 * rate) / 20), rate, format="OGG", subtype="OPUS")
    pages = opus_pages(good.read_bytes())
    position = int.from_bytes(pages[3][6:14], "little")
    pages[3][6:14] = (position + 488).to_bytes(8, "little")
    bad.write_bytes(fix_serial(b"".join(pages)))
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(bad)
    whole = read_audio(good)
    for heard in (read_audio(bad), decode_audio(BytesIO(bad.read_bytes()), "bad", Limits())):
        assert torch.equal(heard.samples, whole.samples) and heard.rate == rate
    assert fix_positions(bad.read_bytes()) == fix_serial(good.read_bytes()) and fix_positions(good.read_bytes()) is None


@pytest.mark.parametrize("cut", [40, 100])
def test_an_opus_file_without_sound_is_refused(tmp_path, cut):
    path = tmp_path / "a.opus"
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE) / 20), RATE, format="OGG", subtype="OPUS")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="not readable audio"):
        read_audio(path)
