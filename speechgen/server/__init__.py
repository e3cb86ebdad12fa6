"""The HTTP server: OpenAI's speech endpoints over the service.

application   the endpoints joined to one FastAPI application, with queue, limits and errors
speech        POST /v1/audio/speech
catalogue     GET /v1/models, GET and POST and DELETE /v1/audio/voices, /health, /metrics
schemas       what requests and answers look like
failures      every refusal as one sentence in OpenAI's envelope
guard         what is refused before any endpoint sees it: hosts, origins, keys, bodies, crowds
waiting       jobs of the queue, awaited
settings      what can be chosen when it starts
run           a socket, uvicorn, and an orderly end
load          many clients at once, and what they saw (`speechgen bench serve`)
asking        one request of theirs
"""
