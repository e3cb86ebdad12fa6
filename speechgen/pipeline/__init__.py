"""Text and a reference in, waveform out: four checkpoints that fit together, joined.

stages    which checkpoints a pipeline names; refused before a weight is read if they do not fit
pipeline  text -> phonemes -> tokens -> mel -> waveform, piece by piece
carriers  what goes in and comes out
pieces    where text is cut, and the silence around each piece
streaming a piece as chunks of sound, each handed on before the next is made
checks    what can be wrong with the sound of a piece
prompts   what a reference recording must be, and its preparation
alignment where phones, words and tokens of a piece lie in the output
transcript where the words of a recording lie
edits     what is to be changed in a recording: by times, or by the difference of two texts
editing   a recording with its changes made, everything else as it was; gaps: what the models make in their places
longform  pauses, edges and true peaks of pieces that follow one another
silence   where speech begins, ends and pauses
"""
