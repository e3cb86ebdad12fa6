"""The command line: one file per verb, each a typed function; `main` joins them.

Starting must stay fast: these files import the rest of speechgen inside their functions only.
"""
