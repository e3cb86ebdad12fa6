"""Generation processes that take a function, never a model class.

Conventions, stated once: flow time t = 0 is noise and t = 1 is data, velocity = data - noise.

flow_matching (paths and integration) · diffusion (noise levels, schedules, ancestral sampling) · schedules (time grids)
guidance · transducer (monotonic decoding)
"""
