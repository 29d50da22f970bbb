// The official `openai` client against the emulator: sdk.mjs URL LIMITED_URL.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The package is where the test installed it, not beside this file.
const require = createRequire(`${process.cwd()}/x.js`);
const openai = await import(pathToFileURL(require.resolve("openai")));
const OpenAI = openai.default?.default ?? openai.default;
const toFile = openai.toFile ?? openai.default.toFile;

const [url, limited] = process.argv.slice(2);
const client = (apiKey, base = url, maxRetries = 0) =>
  new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries, timeout: 20_000 });
const words = (text) => text.split(/\s+/).filter(Boolean).length;

const chat = client("sk-chat-1");
const messages = [
  { role: "system", content: "be brief" },
  { role: "user", content: "hello there" },
];

// Chat.
const answer = await chat.chat.completions.create({ model: "tide-1", messages, max_tokens: 7, ignore_eos: true });
assert.equal(words(answer.choices[0].message.content), 7);
assert.equal(answer.usage.prompt_tokens, 4);

// Streaming.
const stream = await chat.chat.completions.create({
  model: "tide-1",
  messages,
  max_tokens: 9,
  ignore_eos: true,
  stream: true,
  stream_options: { include_usage: true },
});
let said = "";
let usage = null;
for await (const chunk of stream) {
  said += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(words(said), 9);
assert.equal(usage.completion_tokens, 9);

// A stream that is left before its end.
for await (const chunk of await chat.chat.completions.create({ model: "tide-1", messages, max_tokens: 5000, stream: true })) {
  assert.ok(chunk.id);
  break;
}

// Embeddings and models.
const vectors = await client("sk-embed").embeddings.create({ model: "tide-embed", input: ["one two", "three"] });
assert.deepEqual(vectors.data.map((one) => one.embedding.length), [16, 16]);
const models = [];
for await (const model of chat.models.list()) models.push(model.id);
assert.deepEqual(models, ["tide-1"]);

// Files and batches.
const nightly = client("nightly");
const lines = Array.from({ length: 20 }, (_, at) => ({
  custom_id: `q${at}`,
  method: "POST",
  url: "/v1/chat/completions",
  body: { model: "tide-1", messages, max_tokens: 3 },
}));
const text = lines.map((line) => JSON.stringify(line)).join("\n");
const file = await nightly.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
let batch = await nightly.batches.create({
  input_file_id: file.id,
  endpoint: "/v1/chat/completions",
  completion_window: "24h",
});
const deadline = Date.now() + 10_000;
while (!["completed", "failed"].includes(batch.status) || !batch.output_file_id) {
  assert.ok(Date.now() < deadline, JSON.stringify(batch));
  await new Promise((done) => setTimeout(done, 50));
  batch = await nightly.batches.retrieve(batch.id);
}
assert.equal(batch.status, "completed");
const output = await (await nightly.files.content(batch.output_file_id)).text();
const answers = output.trim().split("\n").map((line) => JSON.parse(line));
assert.equal(answers.length, 20);
assert.ok(answers.every((one) => one.response.body.usage.completion_tokens === 3));

// Typed errors.
const say = (by, model = "tide-1", more = {}) =>
  by.chat.completions.create({ model, messages, max_tokens: 2, ...more });
const raised = async (kind, call) => {
  const error = await call().then(
    () => assert.fail(`no ${kind.name}`),
    (error) => error,
  );
  assert.ok(error instanceof kind, `${error}`);
  return error;
};
assert.equal((await raised(OpenAI.AuthenticationError, () => say(client("nobody")))).code, "invalid_api_key");
assert.equal((await raised(OpenAI.NotFoundError, () => say(chat, "tide-9"))).code, "model_not_found");
assert.equal((await raised(OpenAI.BadRequestError, () => say(chat, "tide-1", { n: 129 }))).param, "n");

// A rate limit: an error without retries, a wait with them.
const once = client("chat-2", limited);
const outcomes = [];
for (let at = 0; at < 3; at++) outcomes.push(await say(once).catch((error) => error));
const refused = outcomes.find((one) => one instanceof OpenAI.RateLimitError);
assert.equal(refused?.code, "rate_limit_exceeded");
const patient = client("chat-3", limited, 5);
const began = Date.now();
for (let at = 0; at < 4; at++) await say(patient);
assert.ok(Date.now() - began > 900, "four requests at two a second take a second");

console.log("node: ok");
