"""The official `openai` client against the emulator: sdk.py URL LIMITED_URL."""

import json
import sys
import time

import openai

url, limited = sys.argv[1], sys.argv[2]


def client(key, base=url, retries=0):
    return openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=retries, timeout=20)


chat = client("sk-chat-1")
hello = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there"}]

# Chat.
answer = chat.chat.completions.create(model="tide-1", messages=hello, max_tokens=7, extra_body={"ignore_eos": True})
assert len(answer.choices[0].message.content.split()) == 7, answer
assert answer.choices[0].finish_reason == "length"
assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 7)
assert answer.usage.prompt_tokens_details.cached_tokens == 0
assert answer._request_id.startswith("chat-")

# Streaming.
stream = chat.chat.completions.create(
    model="tide-1",
    messages=hello,
    max_tokens=9,
    stream=True,
    stream_options={"include_usage": True},
    extra_body={"ignore_eos": True},
)
said, reasons, usage = "", [], None
for chunk in stream:
    usage = chunk.usage or usage
    for choice in chunk.choices:
        said += choice.delta.content or ""
        reasons += [choice.finish_reason] if choice.finish_reason else []
assert len(said.split()) == 9 and reasons == ["length"], (said, reasons)
assert usage.completion_tokens == 9

# A stream that is closed before its end.
with chat.chat.completions.create(model="tide-1", messages=hello, max_tokens=5000, stream=True) as stream:
    next(iter(stream))

# Completions, embeddings, models.
text = chat.completions.create(model="tide-1", prompt="one two", max_tokens=3, extra_body={"ignore_eos": True})
assert len(text.choices[0].text.split()) == 3
embed = client("sk-embed")
vectors = embed.embeddings.create(model="tide-embed", input=["one two", "three"])
assert [len(one.embedding) for one in vectors.data] == [16, 16] and vectors.usage.total_tokens == 3
plain = embed.embeddings.create(model="tide-embed", input=["one two", "three"], encoding_format="float")
assert all(abs(a - b) < 1e-6 for a, b in zip(vectors.data[0].embedding, plain.data[0].embedding))
assert [model.id for model in chat.models.list()] == ["tide-1"]
assert chat.models.retrieve("tide-1").id == "tide-1"

# Files and batches.
nightly = client("nightly")
lines = [
    {
        "custom_id": f"q{at}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "tide-1", "messages": hello, "max_tokens": 3},
    }
    for at in range(20)
]
file = nightly.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
assert nightly.files.retrieve(file.id).filename == "in.jsonl"
assert file.id in [one.id for one in nightly.files.list()]
batch = nightly.batches.create(
    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
)
deadline = time.time() + 10
while batch.status not in ("completed", "failed") or not batch.output_file_id:
    assert time.time() < deadline, batch
    time.sleep(0.05)
    batch = nightly.batches.retrieve(batch.id)
assert batch.status == "completed" and batch.request_counts.completed == 20, batch
answers = [json.loads(line) for line in nightly.files.content(batch.output_file_id).text.splitlines()]
assert sorted(answer["custom_id"] for answer in answers) == sorted(line["custom_id"] for line in lines)
assert all(answer["response"]["body"]["usage"]["completion_tokens"] == 3 for answer in answers)
assert batch.id in [one.id for one in nightly.batches.list(limit=5)]
assert nightly.files.delete(file.id).deleted


# Typed errors.
def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def say(model="tide-1", by=chat, **more):
    return by.chat.completions.create(model=model, messages=hello, max_tokens=2, **more)


assert raised(openai.AuthenticationError, lambda: say(by=client("nobody"))).code == "invalid_api_key"
assert raised(openai.NotFoundError, lambda: say(model="tide-9")).code == "model_not_found"
assert raised(openai.NotFoundError, lambda: nightly.batches.retrieve("batch_x")).status_code == 404
assert raised(openai.BadRequestError, lambda: say(n=129)).param == "n"
assert raised(openai.PermissionDeniedError, lambda: say(by=nightly)).status_code == 403
long = lambda: chat.chat.completions.create(model="tide-1", messages=hello, max_tokens=9000)
assert raised(openai.BadRequestError, long).code == "context_length_exceeded"

# A rate limit: an error without retries, a wait with them.
once = client("chat-2", limited)
error = None
for _ in range(3):
    try:
        say(by=once)
    except openai.RateLimitError as found:
        error = found
assert error is not None and error.code == "rate_limit_exceeded", error
headers = error.response.headers
assert headers["retry-after"] == "1" and headers["x-ratelimit-remaining-requests"] == "0"
assert headers["x-tidegate-reason"] == "two-a-second"
patient = client("chat-3", limited, retries=5)
began = time.time()
for _ in range(4):
    say(by=patient)
assert time.time() - began > 0.9, "four requests at two a second take a second"

print("python: ok", openai.__version__)
