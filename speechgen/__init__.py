"""speechgen: speech from text, in the voice of a short reference, and the training of the models behind it.

    import speechgen
    result = speechgen.load("default").synthesize("Good morning.", ref="voice.wav")
    result.save("out.wav")

Importing this package loads nothing; `load` does. The rooms: core, nn, audio, text, sampling, losses, data, models, training,
pipeline, evaluation, service (the door that the command line uses), cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechgen.service.engine import Speaker

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(pipeline: str = "default", device: str = "auto") -> Speaker:
    """Load a pipeline and return an object that speaks.

    Args:
        pipeline: a name that `speechgen models` lists, or the path of a pipeline's YAML.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        speechgen.core.errors.UserError: it is unknown, or its checkpoints are missing, damaged or do not fit together.
    """
    from speechgen.core.threads import share_cores

    share_cores()

    from speechgen.service.engine import Engine, Speaker

    engine = Engine(device)
    engine.load(pipeline)
    return Speaker(engine, pipeline)
