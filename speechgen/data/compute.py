"""The features of a prepared folder, each computed from its stored audio and cuts and named by its producer.

mel        log-mel of the audio
phonemes   symbols of the text, for English with a trusted text
characters code points of a trusted text in any language
alignment  when each character is spoken, by the words that a tokenizer finds
tokens     semantic tokens of the audio by a tokenizer that the caller brings
latents    of the mel, by an autoencoder that the caller brings
codes      of the audio, by a codec that the caller brings
labels     the phone at the centre of each token frame, where the corpus knows its phone times
pitch      fundamental frequency of the audio on the frames of the mel
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lhotse import CutSet, MonoCut
from numpy.typing import NDArray

from speechgen.audio.pitch import pitch_producer
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import CodecTokens, Latents, Mel, MelSettings, SemanticTokens, Waveform
from speechgen.data.decode import RATE, stored_mel, stored_pitch, stored_samples
from speechgen.data.features import FeatureStore, FeatureWriter, producer_hash
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import ARPABET, ENGLISH, PAD

__all__ = [
    "FRAMES_PER_TOKEN",
    "Coder",
    "Encoder",
    "Entries",
    "Tokenizer",
    "alignment",
    "characters",
    "codes",
    "labels",
    "latents",
    "mel",
    "phonemes",
    "pitch",
    "tokens",
    "workers",
    "write",
]

FRAMES_PER_TOKEN = 2
TOKEN_RATE = MelSettings().frame_rate / FRAMES_PER_TOKEN
TOKEN_BATCH_SECONDS = 120.0

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Tokenizer:
    """What computes `tokens` and finds words.

    Attributes:
        encode: the tokens of a recording.
        words: the words of a text where a recording says them, in seconds; a UserError if it says something else.
        fingerprint: of its checkpoint.
    """

    encode: Callable[[Waveform], SemanticTokens]
    words: Callable[[str, Waveform], Sequence[tuple[str, float, float]]]
    fingerprint: str


@dataclass(frozen=True)
class Encoder:
    """What computes `latents`: an autoencoder's encode function and rate, and the fingerprint of its checkpoint."""

    encode: Callable[[Mel], Latents]
    rate: float
    fingerprint: str


@dataclass(frozen=True)
class Coder:
    """What computes `codes`: a codec's encode function, its identity, and the rate of its codes."""

    encode: Callable[[Waveform], CodecTokens]
    identity: str
    rate: float


@dataclass(frozen=True)
class Entries:
    """A feature about to be computed: who makes it, for how many utterances, and the lazy (cut id, values)."""

    producer: dict[str, Any]
    total: int
    values: Iterable[tuple[str, NDArray[Any]]]


def write(folder: Path, kind: str, entries: Entries, progress: Progress | None = None) -> None:
    """Store a feature unless the folder has it from the same producer; then nothing is computed."""
    if (folder / "features" / f"{kind}-{producer_hash(entries.producer)}" / "index.json").is_file():
        return
    with FeatureWriter(folder, kind, entries.producer) as writer:
        for done, (cut_id, values) in enumerate(entries.values, 1):
            writer.add(cut_id, values)
            if progress:
                progress(done, entries.total)


def mel(audio: FeatureStore, jobs: int) -> Entries:
    """Log-mels [T, M], T = L // hop + 1."""
    settings, ids = MelSettings(), list(audio.offsets)

    def values() -> Iterator[tuple[str, NDArray[Any]]]:
        with workers(jobs) as run:
            yield from zip(ids, run(partial(stored_mel, audio, settings), ids), strict=True)

    return Entries({"audio": audio.producer, "mel": settings.model_dump()}, len(ids), values())


def pitch(audio: FeatureStore, jobs: int) -> Entries:
    """Fundamental frequencies [T] in Hz on the frames of the mel, 0 where unvoiced."""
    settings, ids = MelSettings(), list(audio.offsets)

    def values() -> Iterator[tuple[str, NDArray[Any]]]:
        with workers(jobs) as run:
            yield from zip(ids, run(partial(stored_pitch, audio, settings), ids), strict=True)

    frames = {"sample_rate": settings.sample_rate, "hop_samples": settings.hop_samples}
    return Entries({"audio": audio.producer, "pitch": {**pitch_producer(), **frames}}, len(ids), values())


def phonemes(cuts: CutSet, language: str = "en-us") -> Entries:
    """Phoneme ids [S] of every text in the language, accents included; doubtful and unspeakable texts are left out.

    Raises:
        UserError: espeak-ng has no such language, or the corpus no text in it.
    """
    phonemizer, spoken = Phonemizer(language, ENGLISH), _spoken(cuts, language)

    def values() -> Iterator[tuple[str, NDArray[Any]]]:
        for cut in spoken:
            try:
                symbols = phonemizer(cut.supervisions[0].text)
            except UserError:  # nothing to speak in it
                continue
            yield cut.id, np.array(ENGLISH.encode(symbols), np.int16)

    return Entries(dict(phonemizer.producer()), len(spoken), values())


def characters(cuts: CutSet) -> Entries:
    """Unicode code points [S] of every trusted text, as it is written.

    Raises:
        UserError: the corpus has no text.
    """
    written = [cut for cut in cuts if _trusted(cut)]
    if not written:
        raise UserError("no cut of this corpus has a text: leave the characters feature out")
    values = ((cut.id, np.array([ord(letter) for letter in cut.supervisions[0].text], np.int32)) for cut in written)
    return Entries({"characters": "as written"}, len(written), values)


def alignment(cuts: CutSet, audio: FeatureStore, tokenizer: Tokenizer, jobs: int, language: str = "en-us") -> Entries:
    """Mel frames [S + 1] at which the characters of a text in the language begin, and at which the last one ends.

    The letters of a word are spread over the time of the word, what lies between words over the time between. Texts that the
    recording does not follow are left out, and those that are spoken by other words than they are written in, such as numbers.

    Raises:
        UserError: the corpus has no text in the language.
    """
    written = _spoken(cuts, language)

    def found(cut: MonoCut) -> NDArray[np.int16] | None:
        text, spoken = cut.supervisions[0].text, Waveform.single(stored_samples(audio, cut.id), RATE)
        try:
            times = _character_times(text, tokenizer.words(text, spoken), spoken.seconds)
        except UserError:
            return None
        return None if times is None else np.rint(times * MelSettings().frame_rate).astype(np.int16)

    def values() -> Iterator[tuple[str, NDArray[Any]]]:
        with workers(jobs) as run:
            for cut, frames in zip(written, run(found, written), strict=True):
                if frames is not None:
                    yield cut.id, frames

    producer = {"audio": audio.producer, "aligner": tokenizer.fingerprint, "characters": "as written"}
    return Entries(producer, len(written), values())


def labels(cuts: CutSet, audio: FeatureStore) -> Entries:
    """Frame labels [T'], T' = ceil(T / 2), from the ARPABET phone times on the supervisions.

    Raises:
        UserError: the corpus has no phone times.
    """
    timed = [cut for cut in cuts if (cut.supervisions[0].alignment or {}).get("phone")]
    if not timed:
        raise UserError("the labels feature needs phone times, which this corpus lacks: leave it out, or prepare flite")
    values = ((cut.id, _frame_labels(cut, audio.length(cut.id))) for cut in timed)
    return Entries({"labels": "arpabet", "vocabulary": ENGLISH.fingerprint}, len(timed), values)


def tokens(audio: FeatureStore, tokenizer: Tokenizer) -> Entries:
    """Semantic tokens [T'], T' = ceil(T / 2), of every utterance, computed in padded batches of similar length.

    A tokenizer of another rate is aligned by time: each frame pair takes the token that is spoken at its centre.
    """
    return Entries({"audio": audio.producer, "tokenizer": tokenizer.fingerprint}, len(audio), _tokens(audio, tokenizer))


def latents(mels: FeatureStore, encoder: Encoder) -> Entries:
    """Normalised latents [T'', D] of every stored mel."""
    settings = MelSettings(**mels.producer["mel"])

    def values() -> Iterator[tuple[str, NDArray[Any]]]:
        for cut_id in mels.offsets:
            frames = torch.from_numpy(mels.get(cut_id).astype(np.float32))[None]
            made = encoder.encode(Mel(frames, torch.tensor([frames.shape[1]]), settings))
            yield cut_id, made.values[0].cpu().numpy()

    return Entries({"mel": mels.producer, "autoencoder": encoder.fingerprint, "rate": encoder.rate}, len(mels), values())


def codes(audio: FeatureStore, coder: Coder, jobs: int) -> Entries:
    """Codes [T, Q] of every utterance, T = ceil(L / hop of the codec)."""
    ids = list(audio.offsets)

    def coded(cut_id: str) -> NDArray[np.int16]:
        found = coder.encode(Waveform.single(stored_samples(audio, cut_id), RATE)).ids[0]  # [Q, T]
        return found.T.cpu().numpy().astype(np.int16)

    def values() -> Iterator[tuple[str, NDArray[Any]]]:
        with workers(jobs) as run:
            yield from zip(ids, run(coded, ids), strict=True)

    producer = {"audio": audio.producer, "codec": coder.identity, "rate": coder.rate}
    return Entries(producer, len(ids), values())


@contextmanager
def workers(jobs: int) -> Iterator[Callable[[Callable[[Input], Output], Sequence[Input]], Iterable[Output]]]:
    """Yield an ordered map over `jobs` threads; decoding, resampling and transforms leave Python's lock to others."""
    with ThreadPool(jobs) as pool:
        yield pool.imap


def _spoken(cuts: CutSet, language: str) -> list[MonoCut]:
    """The cuts with a trusted text in the language.

    Raises:
        UserError: there is none.
    """
    family = language.partition("-")[0].lower()
    # Corpora write "en", "en-us" or "English".
    spoken = [cut for cut in cuts if _trusted(cut) and (cut.supervisions[0].language or "").lower().startswith(family)]
    if not spoken:
        found = sorted({cut.supervisions[0].language or "unknown" for cut in cuts})
        raise UserError(
            f"no text in {language} to phonemise: the corpus is in {', '.join(found)}; set the language, or leave it out"
        )
    return spoken


def _trusted(cut: MonoCut) -> bool:
    return bool(cut.supervisions[0].text) and not (cut.custom or {}).get("text_outlier")


def _character_times(text: str, words: Sequence[tuple[str, float, float]], seconds: float) -> NDArray[np.float64] | None:
    """Seconds [S + 1] at which characters begin and the last ends; None if the words are not those of the text."""
    if " ".join(word for word, _, _ in words) != text.strip():
        return None
    places, times, done = [], [], len(text) - len(text.lstrip())
    for word, start, stop in words:
        letters = [place for place, letter in enumerate(word, done) if letter.isalnum()]
        if letters:
            places += [letters[0], letters[-1] + 1]
            times += [start, stop]
        done += len(word) + 1
    if places[-1:] != [len(text)]:
        places.append(len(text))
        times.append(seconds)
    return np.interp(np.arange(len(text) + 1), places, times)


def _frame_labels(cut: MonoCut, num_samples: int) -> NDArray[np.int16]:
    """The phone at the centre of each token frame; 0 is silence."""
    phones = cut.supervisions[0].alignment["phone"]
    ends = np.array([phone.start + phone.duration for phone in phones])
    try:
        symbols = [ARPABET[phone.symbol.lower().rstrip("012")] for phone in phones] + [PAD]
    except KeyError as error:
        raise UserError(f"phone {error} of {cut.id} is not ARPABET: labels know only {', '.join(ARPABET)}") from error
    ids = np.array(ENGLISH.encode(symbols), np.int16)
    return ids[np.searchsorted(ends, _centres(num_samples), side="right")]


def _centres(num_samples: int) -> NDArray[np.float64]:
    """Time in seconds of the centre of each token frame [T']."""
    hop = MelSettings().hop_samples
    num_tokens = -(-(num_samples // hop + 1) // FRAMES_PER_TOKEN)
    # Mel frame j is centred on sample j * hop, so a token of two frames is centred half a hop after its first.
    return (np.arange(num_tokens) * FRAMES_PER_TOKEN + (FRAMES_PER_TOKEN - 1) / 2) * hop / RATE


def _tokens(audio: FeatureStore, tokenizer: Tokenizer) -> Iterator[tuple[str, NDArray[np.int16]]]:
    batch: list[str] = []
    for cut_id in sorted(audio.offsets, key=audio.length):
        if batch and audio.length(cut_id) * (len(batch) + 1) > TOKEN_BATCH_SECONDS * RATE:
            yield from _encode(audio, batch, tokenizer)
            batch = []
        batch.append(cut_id)
    yield from _encode(audio, batch, tokenizer)


def _encode(audio: FeatureStore, ids: Sequence[str], tokenizer: Tokenizer) -> Iterator[tuple[str, NDArray[np.int16]]]:
    rows = [stored_samples(audio, cut_id) for cut_id in ids]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # [B, L]
    with torch.inference_mode():
        result = tokenizer.encode(Waveform(padded, torch.tensor([len(row) for row in rows]), RATE))
    for cut_id, row, length in zip(ids, result.ids.cpu().numpy(), result.lengths.tolist(), strict=True):
        ids_of_row = row[:length]
        if result.rate != TOKEN_RATE:
            ids_of_row = ids_of_row[np.minimum((_centres(audio.length(cut_id)) * result.rate).astype(int), length - 1)]
        yield cut_id, ids_of_row.astype(np.int16)
