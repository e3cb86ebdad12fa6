"""Text and a reference in, waveform out: four checkpoints that fit together, joined.

stages    which checkpoints a pipeline names; refused before a weight is read if they do not fit
pipeline  text -> phonemes -> tokens -> mel -> waveform, piece by piece
prompts   what a reference recording must be, and its preparation
alignment where phones, words and tokens of a piece lie in the output
longform  pieces joined: pauses, cross-fades, edges, true peaks
silence   where speech begins, ends and pauses
"""
