"""Text to phoneme ids. Light to import: espeak-ng is loaded when a Phonemizer is made.

markup       text with [pause:0.8] to passages with pauses between
normalize    one canonical form of text; is there anything to speak
english      numbers, symbols and abbreviations to words: english_numbers, english_words
spans        [[phonemes]] within text
split        long text to pieces at sentence, clause and word boundaries
phonemes     Phonemizer: text to symbols, by espeak-ng
vocabulary   the closed set of symbols and their ids; ARPABET to symbols
"""
