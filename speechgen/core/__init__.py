"""Contracts and plumbing every room shares; knows no model.

types       carriers that stages exchange (Text, SemanticTokens, Mel, Waveform, Prompt)
protocols   what a tokenizer, a semantic, an acoustic model, a vocoder and an objective promise
spec        ModelSpec: all that others read of a model folder
registry    finds model folders; folder name = registry key
config      strict, frozen configuration and its error messages
checkpoint  the one checkpoint format: a folder of safetensors and JSON
weights     weights that others published: the only place where a pickle is opened, without running it
files       files that appear whole or not at all
random      seeds: one number in, independent streams out
errors      UserError: what was given, what is allowed, what to do
"""
