"""Serves a GGUF file by llama.cpp until it is ended: llama.py MODEL PORT"""

import sys
import time

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port = int(sys.argv[2])
# Four requests at once; more wait.
params.n_parallel = 4
params.n_ctx = 16384
params.cpuparams.n_threads = 1
params.endpoint_metrics = True
params.model_alias = {"tiny"}
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
while True:
    time.sleep(3600)
