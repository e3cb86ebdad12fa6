"""The page as a visitor sees it, in a real browser."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechgen.service.voices import read_stored

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

LONG = " ".join(f"Sentence number {number} is here to be spoken slowly and with some care." for number in range(1, 40))


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def told(page: Any, word: str, after: str | None = None) -> str:
    """Wait until the open tab's job says something other than what it said before, and return all that it says."""
    lines = page.locator(".job:visible")
    line = lines.filter(has_text=re.compile(word)).first
    try:
        while line.wait_for() or line.inner_text() == after:
            page.wait_for_timeout(100)
    except Exception as error:
        raise AssertionError(f"{word!r} is awaited, and the page says {lines.all_inner_texts()}") from error
    return line.inner_text()


def text_box(page: Any, name: str) -> Any:
    return page.locator(f"#{name} textarea, #{name} input").first


def speak(page: Any, text: str) -> None:
    text_box(page, "text").fill(text)
    page.locator("#speak").click()


def download(page: Any, wanted: str | None = None) -> tuple[np.ndarray, int, str]:
    """Samples, rate and name of the file that the page offers; a button has its new text a little before its new file."""
    button = page.locator(".download:visible")
    button.wait_for()
    for _ in range(20):
        with page.expect_download() as waiting:
            button.click()
        if wanted in (None, waiting.value.suggested_filename):
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail(f"{waiting.value.suggested_filename} is offered, not {wanted}")
    samples, rate = soundfile.read(io.BytesIO(Path(waiting.value.path()).read_bytes()))
    return samples, rate, waiting.value.suggested_filename


def seed(page: Any) -> str:
    """The seed that the figures name."""
    return page.locator(".figures-grid dt", has_text="Seed").locator("xpath=following-sibling::dd").inner_text()


def picture(page: Any) -> tuple[int, int]:
    """Wait for the picture and return its size."""
    image = page.locator(".picture img")
    image.wait_for()
    page.wait_for_function("() => document.querySelector('.picture img')?.naturalWidth > 0")
    return image.evaluate("image => [image.naturalWidth, image.naturalHeight]")


def advanced(page: Any) -> None:
    page.locator(".advanced:visible button").first.click()
    page.locator("#seed input").first.wait_for()


def test_a_typed_text_is_spoken_and_drawn(open_page: Callable[..., Any], shots: Path):
    page = open_page()
    speak(page, "Good morning, and welcome.")
    told(page, "Done")
    samples, rate, name = download(page)
    assert (rate, samples.ndim) == (24000, 1)
    assert len(samples) > 0.3 * rate and np.abs(samples).max() > 0.002
    assert name == f"speech-{seed(page)}.wav"
    width, height = picture(page)
    assert width > 800 and height > 300
    figures = page.locator(".figures-grid").inner_text()
    assert all(word in figures for word in ("Sound", "Real-time factor", "First sound after"))
    page.screenshot(path=shots / "speak-light.png", full_page=True)


def test_the_page_is_ready_soon(open_page: Callable[..., Any]):
    open_page()  # what the server makes once is made
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        open_page()
        seconds.append(time.monotonic() - begun)
    assert min(seconds) < 3  # the best of several, for other work on the machine is not the page's


def test_sound_is_played_while_the_rest_is_made(open_page: Callable[..., Any]):
    page = open_page()
    speak(page, LONG)
    page.wait_for_function(
        """() => parseFloat(document.documentElement.dataset.livePlayed) > 0.2
            && document.querySelector(".job").innerText.startsWith("Speaking")
            && document.querySelector(".live-player:not([hidden])")?.innerText.includes("made")"""
    )
    page.locator("#stop").click()
    told(page, "Stopped")


def test_the_seed_decides(open_page: Callable[..., Any]):
    page = open_page()
    advanced(page)
    page.locator("#chance input").uncheck()
    heard = []
    for number in ("7", "8", "7"):
        page.locator("#seed input").first.fill(number)
        speak(page, "Good morning.")
        page.locator(".download:visible", has_text=f"speech-{number}.").wait_for()  # not the one before
        page.locator(".figures-grid dt", has_text="Seed").locator(f"xpath=following-sibling::dd[.='{number}']").wait_for()
        told(page, "Done")
        heard.append(download(page, f"speech-{number}.wav")[0])
    assert np.array_equal(heard[0], heard[2])
    assert heard[0].shape != heard[1].shape or not np.array_equal(heard[0], heard[1])


def test_a_new_seed_each_time_is_shown_and_can_be_used_again(open_page: Callable[..., Any]):
    page = open_page()
    advanced(page)
    speak(page, "Good morning.")
    told(page, "Done")
    assert page.locator("#seed input").first.input_value() == seed(page)


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_an_uploaded_reference_is_the_voice(open_page: Callable[..., Any], reference: Path, tmp_path: Path, format: str):
    soundfile.write(tmp_path / f"my voice.{format}", *soundfile.read(reference))
    page = open_page()
    page.locator(".recording input[type=file]").first.set_input_files(tmp_path / f"my voice.{format}")
    page.locator(".transcript:visible").wait_for()
    page.locator(".recording audio, .recording #waveform, .recording .waveform-container").first.wait_for(state="attached")
    speak(page, "Good morning.")
    told(page, "Done")
    assert np.abs(download(page)[0]).max() > 0.002


def test_the_microphone_is_heard(open_page: Callable[..., Any]):
    page = open_page()
    page.get_by_role("button", name="Record audio").first.click()
    page.locator(".recording .record-button:visible").click()
    stop = page.locator(".recording .stop-button:visible")
    stop.wait_for()  # now it records
    page.wait_for_timeout(4000)
    stop.click()
    page.locator(".recording button[aria-label='Play']:visible").wait_for()
    page.locator(".transcript:visible").wait_for()  # now the page has it
    speak(page, "Good morning.")
    told(page, "Done")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"no audio at all", "not readable audio"), (b"", "not readable audio"), (None, "lasts 0.2 s: give 1 to 30 s")],
    ids=["text", "empty", "short"],
)
def test_a_bad_reference_is_refused_in_a_sentence(
    open_page: Callable[..., Any], tmp_path: Path, content: bytes | None, sentence: str
):
    path = tmp_path / "voice.wav"
    if content is None:
        soundfile.write(path, np.zeros(4800), 24000)
    else:
        path.write_bytes(content)
    page = open_page()
    page.locator(".recording input[type=file]").first.set_input_files(path)
    page.wait_for_timeout(1500)
    speak(page, "Good morning.")
    said = told(page, sentence)
    assert "/" not in said


def test_no_text_is_refused_in_a_sentence(open_page: Callable[..., Any]):
    page = open_page()
    speak(page, "   ")
    assert told(page, "text is empty").endswith(".")
    speak(page, "<script>alert(1)</script> <img src=x onerror=alert(2)>")
    told(page, "markup|unknown|<script>|Done")
    assert page.locator("img[src=x]").count() == 0


def test_a_long_job_can_be_stopped_and_the_page_goes_on(open_page: Callable[..., Any]):
    page = open_page()
    speak(page, LONG)
    told(page, "Speaking")
    begun = time.monotonic()
    page.locator("#stop").click()
    told(page, "Stopped|cancelled")
    assert time.monotonic() - begun < 30
    speak(page, "Good morning.")
    told(page, "Done")


def test_a_refreshed_page_is_fresh_and_its_job_is_stopped(open_page: Callable[..., Any]):
    page = open_page()
    speak(page, LONG)
    told(page, "Speaking")
    page.reload()
    page.locator("#speak").wait_for()
    told(page, "Press Speak")
    speak(page, "Good morning.")
    told(page, "Done")  # soon: the long one is not in the way


def test_keys_begin_and_stop(open_page: Callable[..., Any]):
    page = open_page()
    text_box(page, "text").fill(LONG)
    text_box(page, "text").press("Control+Enter")
    told(page, "Speaking")
    page.keyboard.press("Escape")
    told(page, "Stopped|cancelled")


def test_a_text_file_is_opened(open_page: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "story.txt"
    path.write_text("Once upon a time.", encoding="utf-8")
    page = open_page()
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Open text").click()
    choosing.value.set_files(path)
    page.wait_for_function("() => document.querySelector('#text textarea').value === 'Once upon a time.'")


def test_other_formats_are_offered(open_page: Callable[..., Any]):
    page = open_page()
    page.get_by_label("flac", exact=True).check()
    speak(page, "Good morning.")
    told(page, "Done")
    samples, rate, name = download(page)
    assert name.endswith(".flac") and rate == 24000 and len(samples) > 2000


def test_a_dialogue_is_spoken_by_two(open_page: Callable[..., Any], shots: Path):
    page = open_page()
    tab(page, "Dialogue")
    text_box(page, "script").fill("Ann: Good morning.\nBob: Is it?\nCleo: It is.")
    page.get_by_label("Voice of Cleo").first.wait_for()
    page.locator("#speak-dialogue").click()
    told(page, "Done")
    assert [row.split("\t")[1] for row in page.locator(".sheet:visible tbody tr").all_inner_texts()] == ["Ann", "Bob", "Cleo"]
    assert np.abs(download(page)[0]).max() > 0.002
    page.screenshot(path=shots / "dialogue-light.png", full_page=True)


def test_ways_are_compared_and_listened_to_blindly(open_page: Callable[..., Any], page_home: Path, shots: Path):
    page = open_page()
    tab(page, "Compare")
    page.locator("#compare").click()
    told(page, "Done, all with seed")
    assert len(page.locator("#compare-sheet tbody tr").all()) == 2
    page.get_by_role("button", name="Blind test").click()
    page.locator("#abx-begin").click()
    for number in range(1, 9):
        page.locator("#abx-told", has_text=f"Listening {number} of 8").wait_for()
        page.locator("#abx-one" if number % 2 else "#abx-other").click()
    page.locator("#abx-told", has_text="of 8 right").wait_for()
    with page.expect_download() as waiting:
        page.locator("#abx-file").click()
    rows = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 8 and rows[0].startswith("time,text,a,b")
    assert (page_home / "listening" / "abx.csv").read_text(encoding="utf-8").splitlines() == rows
    page.screenshot(path=shots / "compare-light.png", full_page=True)


def test_a_voice_is_added_heard_used_and_removed(open_page: Callable[..., Any], reference: Path, page_home: Path, shots: Path):
    page = open_page()
    tab(page, "Voices")
    text_box(page, "voice-name").fill("../etc/passwd")
    page.locator("#add-voice").click()
    told(page, "cannot be a voice's name")
    text_box(page, "voice-name").fill("anna")
    page.locator(".recording:visible input[type=file]").set_input_files(reference)
    page.locator(".transcript:visible textarea").fill("Ah, as one says.")
    page.locator("#add-voice").click()
    told(page, "anna is stored")
    assert read_stored(page_home / "voices" / "anna.safetensors").info.transcript == "Ah, as one says."
    choose(page, "#chosen-voice", "anna")
    page.locator("#voice-sound").wait_for()
    page.screenshot(path=shots / "voices-light.png", full_page=True)
    tab(page, "Speak")
    choose(page, "#voice", "anna")
    speak(page, "Good morning.")
    told(page, "Done")
    tab(page, "Voices")
    page.locator("#remove-voice").click()
    page.locator("#remove-sure").click()
    page.locator("#voices-told", has_text="anna is removed").wait_for()
    assert not (page_home / "voices" / "anna.safetensors").exists()


def choose(page: Any, where: str, name: str) -> None:
    """Choose from a list."""
    page.locator(f"{where} input").first.click()
    page.locator(f"{where} input").first.fill(name)
    page.get_by_role("option", name=name, exact=True).first.click()


def test_both_looks(open_page: Callable[..., Any], shots: Path):
    page = open_page("dark")
    speak(page, "Good morning, and welcome.")
    told(page, "Done")
    picture(page)
    assert luminance(page) > 0.8  # light letters on a dark ground
    page.screenshot(path=shots / "speak-dark.png", full_page=True)
    page.locator("#look-switch").click()
    page.wait_for_function("() => !document.body.classList.contains('dark')")
    assert luminance(page) < 0.3
    page.reload()
    page.locator("#speak").wait_for()
    page.wait_for_function("() => !document.body.classList.contains('dark')")  # the choice is kept


def luminance(page: Any) -> float:
    """How bright the letters are."""
    color = page.evaluate("() => getComputedStyle(document.querySelector('#masthead h1')).color")
    return float(np.mean([float(part) for part in re.findall(r"[\d.]+", color)[:3]]) / 255)


def test_a_narrow_window_has_everything_below_one_another(open_page: Callable[..., Any], shots: Path):
    page = open_page(width=420)
    page.get_by_text("Examples").first.wait_for()
    box = page.locator("#look-switch").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 420
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420
    speak(page, "Good morning, and welcome.")
    told(page, "Done")
    expected = ["#text", "#speak", ".job:visible", ".download:visible", "#voice"]  # what is heard stands above the choices
    assert sorted(expected, key=lambda part: page.locator(part).bounding_box()["y"]) == expected
    page.screenshot(path=shots / "speak-narrow.png", full_page=True)
