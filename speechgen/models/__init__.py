"""One folder per system: `<role>/<name>/{__init__, config, model, objective, generate}.py`.

To add one: write the folder with a SPEC in its `__init__`, a recipe, a smoke recipe and a test file. No list is edited.
"""
