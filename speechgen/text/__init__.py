"""Text to phoneme ids. Light to import: espeak-ng is loaded when a Phonemizer is made.

normalize    one canonical form of text; is there anything to speak
split        long text to pieces at sentence, clause and word boundaries
phonemes     Phonemizer: text to symbols, by espeak-ng
vocabulary   the closed set of symbols and their ids; ARPABET to symbols
"""
