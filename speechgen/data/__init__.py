"""Corpora, from files to training batches. Thin, over lhotse.

corpora    finds the utterances of a corpus: lhotse's recipes by name, or a folder with metadata
digits     spoken digits, in their authors' splits
flite      a synthetic corpus whose phone times are known exactly
scores     songs out of MIDI files and tables of chorales
arranging  who plays a stretch of a song, how fast, in which key; and the caption that says so
midi       a corpus of such stretches, rendered through a soundfont
captions   labels of sounds to captions
decode     one utterance from its file to stored samples: level, trim, faults
prepare    decodes and checks a corpus once; adds features to a prepared folder
compute    each feature, from what a prepared folder holds
report     what was found: counts, hours, faults
features   memory-mapped features, keyed by the hash of what produced them
plan       which utterances are in batch n
batching   duration-bucketed or cropped batches, reproducible and resumable

A prepared folder holds `cuts.jsonl.gz` (lhotse cuts), `report.json` and `features/<kind>-<hash>/{data.bin, index.json}`.
"""
