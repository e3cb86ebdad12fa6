"""How long something takes, whatever else the machine and the process are doing."""

import time
import timeit
from collections.abc import Callable


def seconds_of(action: Callable[[], object]) -> float:
    """Seconds of a processor that `action` takes on this thread, without collecting what other tests left behind."""
    return timeit.timeit(action, timer=time.thread_time, number=1)
