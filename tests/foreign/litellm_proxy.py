"""LiteLLM's proxy before an upstream that takes so many requests a second: litellm_proxy.py PORT DIR RATE

The upstream refuses like OpenAI, with `retry-after`; it writes a line for each answer into DIR/upstream.log, the proxy one
into DIR/access.log.
"""

import asyncio
import collections
import json
import logging
import os
import pathlib
import socket
import sys
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

port, folder, rate = int(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
ANSWER = ["four", " words", " of", " answer"]
log = open(folder / "upstream.log", "w", buffering=1)
taken = collections.deque()


def refusal():
    message = "Rate limit reached for requests"
    body = {"error": {"message": message, "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    headers = {
        "retry-after": "1",
        "x-ratelimit-limit-requests": str(rate),
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    }
    return JSONResponse(body, 429, headers)


async def chat(request):
    asked = await request.json()
    now = time.monotonic()
    while taken and taken[0] <= now - 1.0:
        taken.popleft()
    refused = len(taken) >= rate
    log.write(f"{time.time():.6f} {429 if refused else 200}\n")
    if refused:
        return refusal()
    taken.append(now)
    head = {"id": "chatcmpl-1", "created": 0, "model": "canned"}
    usage = {"prompt_tokens": 8, "completion_tokens": len(ANSWER), "total_tokens": 8 + len(ANSWER)}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(ANSWER)}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return JSONResponse(head | {"object": "chat.completion", "choices": choices, "usage": usage})

    async def events():
        def event(choices, **more):
            chunk = head | {"object": "chat.completion.chunk", "choices": choices} | more
            return f"data: {json.dumps(chunk)}\n\n"

        def delta(delta, reason=None):
            return event([{"index": 0, "delta": delta, "finish_reason": reason}])

        yield delta({"role": "assistant", "content": ""})
        for word in ANSWER:
            await asyncio.sleep(0.005)
            yield delta({"content": word})
        yield delta({}, "stop")
        if (asked.get("stream_options") or {}).get("include_usage"):
            yield event([], usage=usage)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def upstream():
    """Starts the upstream on a port of its own; returns its address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    app = Starlette(routes=[Route("/upstream/v1/chat/completions", chat, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/upstream/v1"


def main():
    model = {"model": "openai/canned", "api_base": upstream(), "api_key": "none"}
    config = {
        "model_list": [{"model_name": "canned", "litellm_params": model}],
        # Refusals go to the client as they come: nothing is tried again, no upstream is left alone for a while.
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"num_retries": 0, "telemetry": False},
    }
    # JSON is YAML.
    (folder / "config.yaml").write_text(json.dumps(config))
    os.environ["WORKER_CONFIG"] = json.dumps({"config": str(folder / "config.yaml")})
    # It reads its configuration when it is imported.
    from litellm.proxy.proxy_server import app

    # Both servers write to one log of the process.
    answers = logging.FileHandler(folder / "access.log", mode="w")
    answers.addFilter(lambda record: "/upstream/" not in record.getMessage())
    access = logging.getLogger("uvicorn.access")
    access.setLevel(logging.INFO)
    access.addHandler(answers)
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=True)


main()
