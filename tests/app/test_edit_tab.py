"""The Edit tab in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.app.test_browser import download, picture, seed, tab, text_box, told

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture
def opened(open_page: Callable[..., Any], reference: Path) -> Any:
    """The tab, with a recording uploaded."""
    page = open_page()
    tab(page, "Edit")
    upload(page, reference)
    return page


def upload(page: Any, path: Path) -> None:
    page.locator(".recording:visible input[type=file]").set_input_files(path)
    page.locator(".recording:visible .waveform-container").wait_for()


def by_time(page: Any, start: str, stop: str, text: str) -> None:
    page.locator("#edit-how").get_by_text("a span of time").click()
    text_box(page, "edit-start").fill(start)
    text_box(page, "edit-end").fill(stop)
    text_box(page, "edit-text").fill(text)
    page.locator("#edit").click()


def test_a_span_is_made_to_say_other_words_and_the_rest_is_what_was_uploaded(opened: Any, reference: Path, shots: Path):
    by_time(opened, "1.0", "1,8", "good morning")
    first = told(opened, "Done")
    assert "all else is the recording itself" in first
    samples, rate, name = download(opened)
    before, _ = soundfile.read(reference)
    assert rate == 24000 and name == f"edited-{seed(opened)}.wav"
    assert np.array_equal(samples[:24000], before[:24000]) and np.array_equal(samples[-28800:], before[-28800:])
    width, height = picture(opened)
    assert width > height > 600
    opened.screenshot(path=shots / "edit-light.png", full_page=True)
    by_time(opened, "1.0", "1.8", "")
    told(opened, "Done", after=first)
    shorter, _, _ = download(opened, f"edited-{seed(opened)}.wav")
    assert len(before) - len(shorter) == pytest.approx(0.8 * 24000, abs=600)


def test_a_flac_file_is_taken_as_it_is(open_page: Callable[..., Any], tmp_path: Path):
    rng = np.random.default_rng(0)
    before = np.round(rng.normal(0, 0.1, (3 * 16000, 2)).clip(-1, 1) * 2**23).astype(np.int32) << 8
    soundfile.write(tmp_path / "voice.flac", before, 16000, "PCM_24")
    page = open_page()
    tab(page, "Edit")
    upload(page, tmp_path / "voice.flac")
    by_time(page, "1", "2", "")
    told(page, "Done")
    samples, rate, _ = download(page)
    assert rate == 16000 and np.array_equal(samples[:16000] * 2**31, before[:16000])


def test_what_cannot_be_edited_is_told(opened: Any):
    opened.locator("#edit-find").click()
    told(opened, "Nobody has written yet what the recording says")
    text_box(opened, "edit-old").fill("The tiny model cannot know that this is not what the recording says.")
    opened.locator("#edit-find").click()
    told(opened, "recording does not say|too short for its transcript")
    by_time(opened, "2", "1", "good morning")
    told(opened, "2:1 is reversed")
    by_time(opened, "2", "", "good morning")
    told(opened, "The span is not complete")
    by_time(opened, "2", "9", "good morning")
    told(opened, "ends outside the recording, which lasts 3.00 s")


def test_without_a_recording_one_is_asked_for(open_page: Callable[..., Any]):
    page = open_page()
    tab(page, "Edit")
    by_time(page, "1", "2", "good morning")
    told(page, "There is no recording yet")
