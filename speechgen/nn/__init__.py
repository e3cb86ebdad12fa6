"""Building blocks: tensors in, tensors out. No configuration, no audio.

masks · positions (rotary) · embeddings (flow time) · attention · transformer · conformer · convnext · discriminators
"""
