"""Published weights: one file per family, from its names and files to ours."""
