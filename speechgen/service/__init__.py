"""The only door for command line, page and server: they build a request and call the engine.

requests   SynthesisRequest, MusicRequest: everything that can be asked, checked
engine     Engine: loads pipelines once, speaks, copies through a vocoder; Speaker for Python users
jobs       a bounded queue in front of the engine: what page and server hand their work to
music      music and sounds from a description
batch      many rows of a list spoken or composed, resumable; lists reads it, manifest notes what is finished
           batch_rows, music_rows: what its columns mean
edit       EditRequest: a recording that is to say other words; what comes of it
dialogue   a script of turns spoken in several voices
longtext   texts spoken to the disk piece by piece, resumable; journal: lines on disk, and digests of what was asked
results    SynthesisResult: samples with rate, seed, timings; saves and plots itself
plot       the picture: words, waveform, mel, phones and tokens over one time axis
catalog    finds checkpoints, pipelines and voices
imports    published weights into checkpoints
voices     stored voices, and the voice of a request
devices    names of devices, and what is really there
bench      how fast a pipeline speaks here, beside another system; bench_vocoders: how fast vocoders render
peers      the other systems; machine: time, peak and memory of this one
evaluate   figures of pipelines and tokenizers; evaluate_edit: of speech editing;
           evaluate_sounds: of generated sounds
vocoders   vocoders by name, side by side
doctor     is everything here that speaking needs
page       finds the web page
"""

from speechgen.core.errors import UserError

__all__ = ["UserError"]
