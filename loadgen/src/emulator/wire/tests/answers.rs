//! What clients read when nothing is wrong, and what they read when their request is.

use crate::emulator::testing::{Emulator, chat, scenario, scenario_with, settings};
use serde_json::json;
use tidegate_sim::request::Outcome;

#[test]
fn a_streamed_chat_has_a_word_for_each_token_and_its_usage() {
    let emulator = Emulator::start(&scenario(), settings());
    let body = chat(true, 7)
        .replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let found = emulator.post("/v1/chat/completions", "chat-1", &body);
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(found.header("x-request-id"), Some("chat-0"));
    assert!(found.text().ends_with("data: [DONE]\n\n"));
    let events = found.events();
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let said: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said.split_whitespace().count(), 7);
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "length");
    let usage = &events[events.len() - 1]["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(3), &json!(7)));
    let (ended, dropped) = emulator.stop();
    assert_eq!((ended.totals.of(Outcome::Completed), ended.totals.offered, dropped), (1, 1, 0));
}

#[test]
fn whole_answers_of_every_path_have_their_usage() {
    let emulator = Emulator::start(&scenario(), settings());
    let chat_answer = emulator.post("/v1/chat/completions", "sk-chat", &chat(false, 5)).json();
    assert_eq!(chat_answer["object"], "chat.completion");
    assert_eq!(
        chat_answer["choices"][0]["message"]["content"].as_str().unwrap().split_whitespace().count(),
        5
    );
    let said = emulator.post(
        "/v1/completions",
        "chat",
        r#"{"model":"m","prompt":"a b","max_tokens":4,"ignore_eos":true}"#,
    );
    assert_eq!(said.json()["choices"][0]["text"].as_str().unwrap().split_whitespace().count(), 4);
    assert_eq!(said.json()["usage"]["prompt_tokens"], 2);
    let vectors = emulator.post("/v1/embeddings", "embed", r#"{"model":"e","input":["a b","c"]}"#).json();
    assert_eq!(vectors["data"].as_array().unwrap().len(), 2);
    assert_eq!(vectors["usage"], json!({ "prompt_tokens": 3, "total_tokens": 3 }));
    let invoked = emulator.post(
        "/serving-endpoints/m/invocations",
        "chat",
        r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":3,"ignore_eos":true}"#,
    );
    assert_eq!(invoked.json()["usage"]["completion_tokens"], 3);
    let other_base = emulator.post("/serving-endpoints/chat/completions", "chat", &chat(false, 2));
    assert_eq!(other_base.json()["usage"]["completion_tokens"], 2);
    let models = emulator.get("/v1/models", "embed").json();
    assert_eq!(models["data"][0]["id"], "e");
    assert_eq!(emulator.get("/v1/models/m", "chat").json()["id"], "m");
    let (ended, _) = emulator.stop();
    assert_eq!(ended.totals.of(Outcome::Completed), 5);
}

#[test]
fn outputs_are_the_schedules_for_marked_requests_and_as_asked_for_otherwise() {
    let emulator = Emulator::start(&scenario(), settings());
    let tokens = |headers: &str, body: &str| {
        let headers = format!("content-type: application/json\r\n{headers}");
        let found = emulator.send("POST", "/v1/chat/completions", "chat", &headers, body.as_bytes());
        found.json()["usage"].clone()
    };
    let open = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    let marked = "x-tidegate-session: 5\r\nx-tidegate-prompt-tokens: 77\r\n";
    let first = tokens(marked, open);
    assert_eq!(
        (&first["prompt_tokens"], &first),
        (&json!(77), &tokens(marked, open)),
        "the same request again"
    );
    let least = open.replace("}]}", "}],\"min_tokens\":400,\"max_tokens\":500}");
    assert!(tokens("", &least)["completion_tokens"].as_u64().unwrap() >= 400);
    let most = open.replace("}]}", "}],\"max_tokens\":1}");
    assert_eq!(tokens(marked, &most)["completion_tokens"], 1);
    emulator.stop();
}

#[test]
fn what_is_wrong_has_its_status_and_says_so() {
    let emulator = Emulator::start(&scenario(), settings());
    let code =
        |found: &crate::emulator::testing::Answer| found.json()["error"]["code"].as_str().map(str::to_owned);
    let post = |key: &str, body: &str| emulator.post("/v1/chat/completions", key, body);
    for (key, body, status, wanted) in [
        ("", chat(false, 1), 401, Some("invalid_api_key")),
        ("nobody", chat(false, 1), 401, Some("invalid_api_key")),
        ("chat-4", chat(false, 1), 401, Some("invalid_api_key")),
        ("nightly", chat(false, 1), 403, Some("insufficient_permissions")),
        ("chat", chat(false, 1).replace("\"m\"", "\"other\""), 404, Some("model_not_found")),
        ("embed", chat(false, 1), 404, Some("model_not_found")),
        ("chat", "{".to_owned(), 400, None),
        ("chat", chat(false, 1).replace("\"stream\"", "\"n\":129,\"stream\""), 400, Some("invalid_value")),
        ("chat", chat(false, 9_000), 400, Some("context_length_exceeded")),
    ] {
        let found = post(key, &body);
        assert_eq!((found.status, code(&found).as_deref()), (status, wanted), "{key} {body}");
    }
    assert!(!post("secret-canary", &chat(false, 1)).text().contains("canary"), "keys are not repeated");
    assert_eq!(emulator.get("/v1/chat/completions", "chat").status, 405);
    assert_eq!(emulator.get("/v1/nothing", "chat").status, 404);
    assert_eq!(emulator.get("/v1/models/nothing", "chat").status, 404);
    let databricks = emulator.post("/serving-endpoints/nothing/invocations", "chat", &chat(false, 1));
    assert_eq!(
        (databricks.status, &databricks.json()["error_code"]),
        (404, &json!("RESOURCE_DOES_NOT_EXIST"))
    );
    let invalid = emulator.send("POST", "/v1/chat/completions", "chat", "", b"{\"model\":\"\xff\xfe\"}");
    assert!(invalid.status == 400 && invalid.text().contains("UTF-8"), "{}", invalid.text());
    let (ended, _) = emulator.stop();
    // Only what a limit refused has reached the gateway.
    assert_eq!((ended.totals.offered, ended.totals.of(Outcome::Refused)), (1, 1));
}

#[test]
fn a_full_queue_is_told_as_such() {
    let scenario = scenario_with(
        "[pools.tiny]\nengine = \"slots\"\nmodel = \"e\"\nservers = 1\nservice = \"500ms\"\noutstanding = 1\nqueue = { most = 1 }\n[tiers.tiny]\npools = [\"tiny\"]\n[workloads.tiny]\ntier = \"tiny\"\narrivals = { kind = \"poisson\", rate = \"1/s\" }\n",
    );
    let emulator = Emulator::start(&scenario, settings());
    let body = r#"{"model":"e","prompt":"x"}"#;
    // One is served, one waits, and two find the queue full.
    let found: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..4).map(|_| scope.spawn(|| emulator.post("/v1/completions", "tiny", body))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(found.iter().filter(|found| found.status == 200).count(), 2);
    for full in found.iter().filter(|found| found.status != 200) {
        assert_eq!((full.status, full.header("x-tidegate-reason")), (429, Some("queue-full")));
        assert_eq!(full.json()["error"]["code"], "queue_full");
    }
    emulator.stop();
}

#[test]
fn health_and_metrics_need_no_key() {
    let emulator = Emulator::start(&scenario(), settings());
    emulator.post("/v1/chat/completions", "chat", &chat(false, 5));
    assert_eq!(emulator.get("/health", "").status, 200);
    let page = emulator.get("/metrics", "");
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "vllm:request_success_total{model_name=\"m\",workload=\"chat\",finished_reason=\"stop\"} 1",
        "vllm:prompt_tokens_total{model_name=\"m\",workload=\"chat\"} 3",
        "vllm:generation_tokens_total{model_name=\"m\",workload=\"chat\"} 5",
        "vllm:e2e_request_latency_seconds_count{model_name=\"m\",workload=\"chat\"} 1",
        "tidegate_connections_refused_total 0",
    ] {
        assert!(page.text().lines().any(|found| found == line), "{line} in {}", page.text());
    }
    for name in ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"] {
        assert!(page.text().contains(&format!("# TYPE {name} gauge")), "{name}");
    }
    emulator.stop();
}
