//! Files and batch jobs.

use crate::emulator::server::Settings;
use crate::emulator::testing::{Answer, Emulator, scenario, settings};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn line(id: &str, tokens: u32) -> String {
    format!(
        r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"max_tokens":{tokens}}}}}"#
    )
}

fn upload(emulator: &Emulator, text: &str) -> Answer {
    let body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\ncontent-type: application/jsonl\r\n\r\n{text}\r\n--b--\r\n"
    );
    emulator.send(
        "POST",
        "/v1/files",
        "nightly",
        "content-type: multipart/form-data; boundary=b\r\n",
        body.as_bytes(),
    )
}

fn submit(emulator: &Emulator, file: &str) -> Answer {
    let body = json!({ "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": { "a": "b" } });
    emulator.post("/v1/batches", "nightly", &body.to_string())
}

/// Waits until a job is over.
fn over(emulator: &Emulator, id: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = emulator.get(&format!("/v1/batches/{id}"), "nightly").json();
        let status = found["status"].as_str().unwrap().to_owned();
        if ["completed", "failed", "cancelled", "expired"].contains(&status.as_str()) {
            return found;
        }
        assert!(Instant::now() < until, "{found}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn content(emulator: &Emulator, file: &Value) -> Vec<Value> {
    let path = format!("/v1/files/{}/content", file.as_str().unwrap());
    let found = emulator.get(&path, "nightly");
    assert_eq!(found.status, 200, "{}", found.text());
    let stated = emulator.get(&path.replace("/content", ""), "nightly").json();
    assert_eq!(stated["bytes"], found.body.len(), "its length is known before it is written");
    found.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_job_runs_to_its_end_and_every_line_has_its_answer() {
    let emulator = Emulator::start(&scenario(), settings());
    let lines: Vec<String> =
        (0..100).map(|at| line(&format!("q\"{at}").replace('"', "\\\""), 3 + at % 5)).collect();
    let file = upload(&emulator, &lines.join("\n"));
    assert_eq!(file.status, 200, "{}", file.text());
    let file = file.json();
    assert_eq!((&file["object"], &file["filename"]), (&json!("file"), &json!("in.jsonl")));
    let job = submit(&emulator, file["id"].as_str().unwrap());
    assert_eq!(job.status, 200, "{}", job.text());
    let job = over(&emulator, job.json()["id"].as_str().unwrap());
    assert_eq!((&job["status"], &job["error_file_id"]), (&json!("completed"), &Value::Null));
    assert_eq!(job["request_counts"], json!({ "total": 100, "completed": 100, "failed": 0 }));
    assert_eq!(job["metadata"], json!({ "a": "b" }));
    assert!(job["completed_at"].is_u64() && job["in_progress_at"].is_u64());
    let mut answers = content(&emulator, &job["output_file_id"]);
    assert_eq!(answers.len(), 100);
    answers.sort_by_key(|answer| answer["custom_id"].as_str().unwrap()[2..].parse::<u32>().unwrap());
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer["custom_id"], format!("q\"{at}"));
        assert_eq!((&answer["response"]["status_code"], &answer["error"]), (&json!(200), &Value::Null));
        let body = &answer["response"]["body"];
        // The law of the batch says 5, the line less.
        assert_eq!(body["usage"]["completion_tokens"], (3 + at % 5).min(5));
        assert_eq!(body["model"], "m");
    }
    let list = emulator.get("/v1/batches?limit=1", "nightly").json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["has_more"]), (1, &json!(false)));
    let (ended, _) = emulator.stop();
    assert_eq!(ended.totals.offered, 100);
}

#[test]
fn a_file_that_is_wrong_fails_its_job_on_the_line() {
    let emulator = Emulator::start(&scenario(), settings());
    for (text, at, code) in [
        (format!("{}\n{{", line("a", 3)), json!(2), "invalid_json_line"),
        (format!("{}\n{}", line("a", 3), line("a", 3)), json!(2), "duplicate_custom_id"),
        (line("a", 3).replace("chat/completions", "embeddings"), json!(1), "mismatched_url"),
        (
            format!("{}\n{}", line("a", 3), line("b", 3).replace("\"m\"", "\"other\"")),
            json!(2),
            "model_not_found",
        ),
        ("\n".to_owned(), Value::Null, "empty_file"),
    ] {
        let file = upload(&emulator, &text).json();
        let job = submit(&emulator, file["id"].as_str().unwrap()).json();
        let job = over(&emulator, job["id"].as_str().unwrap());
        let error = &job["errors"]["data"][0];
        assert_eq!(
            (&job["status"], &error["line"], &error["code"]),
            (&json!("failed"), &at, &json!(code)),
            "{job}"
        );
    }
    emulator.stop();
}

#[test]
fn a_job_that_is_cancelled_keeps_the_answers_there_are() {
    let emulator = Emulator::start(&scenario(), settings());
    let lines: Vec<String> = (0..20_000).map(|at| line(&at.to_string(), 5)).collect();
    let file = upload(&emulator, &lines.join("\n")).json();
    let id = submit(&emulator, file["id"].as_str().unwrap()).json()["id"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_millis(100));
    let stopped = emulator.post(&format!("/v1/batches/{id}/cancel"), "nightly", "{}");
    assert_eq!((stopped.status, &stopped.json()["status"]), (200, &json!("cancelling")));
    let job = over(&emulator, &id);
    assert_eq!(job["status"], "cancelled");
    let files = ["output_file_id", "error_file_id"].map(|file| match &job[file] {
        Value::Null => Vec::new(),
        file => content(&emulator, file),
    });
    assert_eq!(files[0].len() + files[1].len(), 20_000, "every line is somewhere");
    assert_eq!(files[1][0]["error"]["code"], "batch_cancelled");
    assert_eq!(emulator.post(&format!("/v1/batches/{id}/cancel"), "nightly", "{}").status, 409);
    emulator.stop();
}

#[test]
fn digitaloceans_clients_upload_to_an_address_and_fetch_from_another() {
    let emulator = Emulator::start(&scenario(), settings());
    let announced = emulator.post("/v1/batches/files", "sk-do-nightly", r#"{"file_name":"in.jsonl"}"#);
    assert_eq!(announced.status, 201, "{}", announced.text());
    let announced = announced.json();
    let path = |url: &Value| {
        url.as_str().unwrap().strip_prefix("http://emulator").unwrap_or_else(|| panic!("{url}")).to_owned()
    };
    let submission = json!({ "file_id": announced["file_id"], "provider": "openai", "endpoint": "/v1/chat/completions", "completion_window": "24h", "request_id": "r-1" });
    let submit = || emulator.post("/v1/batches", "nightly", &submission.to_string());
    assert_eq!(submit().status, 400, "nothing was uploaded yet");
    let put = emulator.send("PUT", &path(&announced["upload_url"]), "", "", line("a", 4).as_bytes());
    assert_eq!(put.status, 200);
    let job = submit();
    assert_eq!(job.status, 201, "{}", job.text());
    let id = job.json()["batch_id"].as_str().unwrap().to_owned();
    assert_eq!(submit().json()["batch_id"], *id, "a request id is one job");
    over(&emulator, &id);
    let results = emulator.get(&format!("/v1/batches/{id}/results"), "nightly").json();
    let found = emulator.get(&path(&results["download"]["presigned_url"]), "");
    assert_eq!(found.text().lines().count(), 1);
    assert_eq!(emulator.get("/uploads/0123", "").status, 403);
    emulator.stop();
}

#[test]
fn jobs_and_files_have_owners_bounds_and_rules() {
    let emulator =
        Emulator::start(&scenario(), Settings { files_most: 2_000, file_most: 1_500, ..settings() });
    let file = upload(&emulator, &line("a", 3)).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(emulator.get(&format!("/v1/files/{file}"), "chat").status, 404, "not its owner");
    assert_eq!(emulator.get("/v1/files", "chat").json()["data"], json!([]));
    assert_eq!(upload(&emulator, &"x".repeat(1_501)).status, 413);
    assert_eq!(upload(&emulator, &"x".repeat(1_500)).status, 200);
    assert_eq!(upload(&emulator, &"x".repeat(1_500)).status, 503, "there is no room");
    let body = |change: (&str, Value)| {
        let mut body =
            json!({ "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h" });
        body[change.0] = change.1;
        emulator.post("/v1/batches", "nightly", &body.to_string()).status
    };
    assert_eq!(body(("completion_window", json!("1h"))), 400);
    assert_eq!(body(("endpoint", json!("/v1/nothing"))), 400);
    assert_eq!(body(("input_file_id", json!("file-nothing"))), 400);
    assert_eq!(body(("surprise", json!(1))), 400);
    assert_eq!(emulator.post("/v1/batches", "chat", "{}").status, 403, "no key of a batch");
    assert_eq!(emulator.get("/v1/batches/batch_1", "nightly").status, 404);
    assert_eq!(emulator.send("DELETE", &format!("/v1/files/{file}"), "nightly", "", b"").status, 200);
    assert_eq!(emulator.get(&format!("/v1/files/{file}/content"), "nightly").status, 404);
    emulator.stop();
}
