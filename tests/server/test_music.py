"""Music over HTTP: the sound that the engine makes, in every format, and refusals in the words of the command."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from starlette.testclient import TestClient

from speechgen.audio.encode import encode
from speechgen.core.errors import UserError
from speechgen.server.speech import MEDIA_TYPES
from speechgen.service import music
from speechgen.service.engine import Engine
from speechgen.service.requests import MusicRequest
from tests.server.conftest import served
from tests.tiny import make_music

ASKED = {"prompt": "a bell", "duration": 0.5, "seed": 3, "steps": 2}


@pytest.fixture
def musical(home: Path) -> Iterator[TestClient]:
    """A client of a server with a model of music."""
    shutil.rmtree(home / "checkpoints" / "tiny-codec")
    make_music(home)
    with served() as client:
        yield client


@pytest.mark.parametrize("format", list(MEDIA_TYPES))
def test_every_format_is_the_sound_that_the_engine_makes(musical, format):
    response = musical.post("/v1/audio/music", json={**ASKED, "response_format": format})
    assert response.status_code == 200 and response.headers["content-type"] == MEDIA_TYPES[format]
    told = {name: response.headers[f"x-speechgen-{name}"] for name in ("seed", "model", "sample-rate", "seconds")}
    assert told == {"seed": "3", "model": "tiny-music", "sample-rate": "24000", "seconds": "0.500"}
    made = Engine("cpu").compose(MusicRequest.checked(ASKED))
    assert response.content == encode(made.samples, made.rate, format, made.provenance)


def test_a_seed_is_chosen_and_told(musical):
    seeds = [musical.post("/v1/audio/music", json={"prompt": "rain", "duration": 0.2}).headers["x-speechgen-seed"]]
    again = musical.post("/v1/audio/music", json={"prompt": "rain", "duration": 0.2, "model": "tiny-music"})
    assert again.headers["x-speechgen-seed"] not in seeds


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt": ""}, "the prompt is empty: say what is to be heard"),
        ({"prompt": " … "}, "the prompt is empty"),
        ({"prompt": "bell " * 300}, "the prompt has 1500 characters: give 1000 at most"),
        ({"prompt": 7}, "prompt: Input should be a valid string"),
        ({"duration": 0}, "duration: Input should be greater than 0"),
        ({"duration": 10_000}, "duration: Input should be less than or equal to 600"),
        ({"overlap": 500.0}, "leaves nothing of the"),
        ({"temperature": 11}, "temperature: Input should be less than or equal to 10"),
        ({"guidence": 3}, "unknown key 'guidence': did you mean 'guidance'"),
        ({"response_format": "aac"}, "response_format: Input should be 'mp3'"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_made_is_refused_in_the_words_of_the_command(musical, content, message):
    response = musical.post("/v1/audio/music", json={**ASKED, **content})
    assert response.status_code == 400 and message in response.json()["error"]["message"]
    if "unknown" not in message and "response_format" not in content and content != {"prompt": 7}:
        with pytest.raises(UserError, match=message.partition(":")[2].strip() or message):
            Engine("cpu").compose(MusicRequest.checked({**ASKED, **content}))


@pytest.mark.parametrize("model", ["tiny-musik", "tiny-codec", "../checkpoints/tiny-music", "/etc/passwd"])
def test_models_are_names_of_what_makes_music(musical, model):
    response = musical.post("/v1/audio/music", json={**ASKED, "model": model})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "unknown model of music" in error["message"]


def test_where_nothing_makes_music_that_is_said(client, home, monkeypatch):
    monkeypatch.setattr(music, "models", list)
    response = client.post("/v1/audio/music", json=ASKED)
    assert response.status_code == 404 and "no model that makes music is installed" in response.json()["error"]["message"]
    assert str(home) not in response.text


def test_opus_takes_sound_of_any_rate():
    """Codecs of music have 32 kHz, which Opus does not know."""
    content = encode(torch.sin(torch.arange(16000) / 10), 32000, "opus")
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == 48000 and abs(len(samples) - 24000) < 1000
