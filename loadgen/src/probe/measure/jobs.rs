//! Batch jobs that must be refused or fail. A job that is taken after all is cancelled at once.

use super::super::basis::Caller;
use super::super::blame::{Blame, blame_text, told};
use super::super::client::{Answer, Call};
use super::super::edge::{Seen, highest};
use super::super::finding::Outcome;
use super::super::method::JobCall;
use super::super::plan::Probe;
use super::{Bench, Measured};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tidegate_sim::profile::Attr;
use tidegate_sim::scenario::live::Dialect;

/// Longest time until a job is checked.
const VALIDATION: Duration = Duration::from_secs(120);
/// Bytes of a line at most, where lines are filled up.
const LINE: usize = 1 << 20;
/// Between the fields of a form.
const BOUNDARY: &str = "tidegate-probe-9f1c0a";

/// What became of a job.
enum Job {
    /// It was refused as it was handed in.
    Refused(Box<Answer>),
    /// It failed when it was checked; what was said.
    Failed(String),
    /// It was taken, and cancelled.
    Taken,
}

/// A file and what is said of it.
struct Handed {
    file: Bytes,
    provider: String,
    endpoint: Option<String>,
    window: &'static str,
}

pub(super) async fn measure(bench: &mut Bench<'_>, probe: &Probe, call: &JobCall) -> Measured {
    let caller = bench.caller(probe).clone();
    let (most, both) = match call {
        JobCall::Lines { most, both } | JobCall::Bytes { most, both } => (*most, *both),
        _ => return refused(bench, probe, &caller, call).await,
    };
    let mut refusal = None;
    let mut ask = async |value: u64| {
        let file = match call {
            JobCall::Lines { .. } => lines(&caller.model, value),
            _ => match filled(&caller.model, value) {
                Some(file) => file,
                None => return Seen::Nothing(format!("no file has {value} bytes")),
            },
        };
        let job = hand_in(bench, &caller, handed(&caller, file)).await;
        let (blame, text, answer) = match job {
            Err(why) => return Seen::Nothing(why),
            Ok(Job::Taken) => return Seen::LetIn,
            Ok(Job::Failed(text)) => (blame_text(bench.basis, probe.limit, &text), text, None),
            Ok(Job::Refused(answer)) => (bench.blame(probe, &answer), told(&answer), Some(*answer)),
        };
        refusal = answer;
        match blame {
            Blame::This => Seen::Refused,
            Blame::Other(name) => Seen::Nothing(format!("`{name}` refused first: {text}")),
            _ => Seen::Maybe(text),
        }
    };
    let outcome = if both {
        highest(most, 1, most.saturating_mul(2), ask).await
    } else {
        match ask(most + 1).await {
            Seen::LetIn => Outcome::AtLeast(most + 1),
            Seen::Refused | Seen::Maybe(_) => Outcome::Between(1, most),
            Seen::Nothing(why) => Outcome::Unclear(why),
        }
    };
    let mut found = Measured { refusal, ..Measured::of(outcome) };
    if !both {
        found
            .notes
            .push(format!("a file of {most} was not handed in: its job would be worked on, and paid for"));
    }
    found
}

/// A job that must be refused or fail.
async fn refused(bench: &mut Bench<'_>, probe: &Probe, caller: &Caller, call: &JobCall) -> Measured {
    let file = match call {
        JobCall::Image => Bytes::from(line(&caller.model, 0, true, None)),
        JobCall::Model(model) => lines(model, 1),
        JobCall::Models(other) => {
            Bytes::from(line(&caller.model, 0, false, None) + &line(other, 1, false, None))
        }
        // Lines for another path than the job's would be wrong by themselves.
        JobCall::Endpoint(path) => {
            Bytes::from(line(&caller.model, 0, false, None).replace("/v1/chat/completions", path))
        }
        _ => lines(&caller.model, 1),
    };
    let mut handed = handed(caller, file);
    match call {
        JobCall::Provider => handed.provider = "tidegate-probe".to_owned(),
        JobCall::Endpoint(path) => handed.endpoint = Some((*path).to_owned()),
        JobCall::Window => handed.window = "48h",
        _ => {}
    }
    match hand_in(bench, caller, handed).await {
        Err(why) => Measured::unclear(why),
        Ok(Job::Taken) => Measured::of(Outcome::LetIn("the job was taken; it is cancelled".to_owned())),
        Ok(Job::Failed(text)) => match blame_text(bench.basis, probe.limit, &text) {
            Blame::Other(name) => Measured::unclear(format!("`{name}` refused first: {text}")),
            Blame::Unknown if !has_code(bench, probe, &text) => {
                Measured::unclear(format!("the job failed otherwise: {text}"))
            }
            _ => Measured::of(Outcome::Refused(format!("the job failed: {text}"))),
        },
        Ok(Job::Refused(answer)) => {
            let text = told(&answer);
            let outcome = match bench.blame(probe, &answer) {
                Blame::This => Outcome::Refused(text),
                Blame::Other(name) => Outcome::Unclear(format!("`{name}` refused first: {text}")),
                _ if matches!(answer.status, 401..=404 | 429 | 500..) => {
                    Outcome::Unclear(format!("refused otherwise: {text}"))
                }
                _ => Outcome::Refused(text),
            };
            Measured { refusal: Some(*answer), ..Measured::of(outcome) }
        }
    }
}

/// Whether a text has the code that the limit answers with.
fn has_code(bench: &Bench<'_>, probe: &Probe, text: &str) -> bool {
    probe.limit.is_none_or(|index| text.contains(&bench.basis.limits[index].limit.answer.code))
}

fn handed(caller: &Caller, file: Bytes) -> Handed {
    let provider = caller.word(Attr::BatchProvider).unwrap_or("openai").to_owned();
    // What other providers work on names no path.
    let endpoint = (provider == "openai").then(|| {
        caller
            .word(Attr::BatchEndpoint)
            .filter(|path| path.starts_with('/'))
            .unwrap_or("/v1/chat/completions")
            .to_owned()
    });
    Handed { file, provider, endpoint, window: "24h" }
}

/// A line of a file, filled up with white space to `bytes`, its end included.
fn line(model: &str, number: u64, image: bool, bytes: Option<usize>) -> String {
    let content = if image {
        json!([
            { "type": "text", "text": "tide" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }
        ])
    } else {
        json!("tide")
    };
    let body =
        json!({ "model": model, "max_tokens": 1, "messages": [{ "role": "user", "content": content }] });
    let mut text = json!({
        "custom_id": format!("probe-{number}"), "method": "POST", "url": "/v1/chat/completions", "body": body
    })
    .to_string();
    if let Some(bytes) = bytes {
        let room = bytes.saturating_sub(text.len() + 1);
        text.pop();
        text.extend(std::iter::repeat_n(' ', room));
        text.push('}');
    }
    text.push('\n');
    text
}

fn lines(model: &str, count: u64) -> Bytes {
    let mut file = String::new();
    for number in 0..count {
        file += &line(model, number, false, None);
    }
    Bytes::from(file)
}

/// A file of exactly so many bytes, in lines as long as may be; `None` when no line is as short.
fn filled(model: &str, bytes: u64) -> Option<Bytes> {
    let bytes = usize::try_from(bytes).ok()?;
    let least = line(model, u64::MAX, false, None).len();
    if bytes < least {
        return None;
    }
    let mut file = String::with_capacity(bytes);
    let mut number = 0;
    while file.len() < bytes {
        let left = bytes - file.len();
        // What is left over must hold a line.
        let size = if left <= LINE { left } else { LINE.min(left - least) };
        let _ = write!(file, "{}", line(model, number, false, Some(size)));
        number += 1;
    }
    (file.len() == bytes).then(|| Bytes::from(file))
}

async fn hand_in(bench: &mut Bench<'_>, caller: &Caller, handed: Handed) -> Result<Job, String> {
    let digital_ocean = bench.basis.dialect == Dialect::DigitalOcean;
    let uploaded = if digital_ocean {
        upload_by_address(bench, caller, handed.file).await?
    } else {
        upload_by_form(bench, caller, handed.file).await?
    };
    let file = match uploaded {
        Ok(file) => file,
        Err(refusal) => return Ok(Job::Refused(Box::new(refusal))),
    };
    let mut fields = json!({ "completion_window": handed.window });
    if digital_ocean {
        fields["file_id"] = file.into();
        fields["provider"] = handed.provider.into();
        fields["request_id"] = format!("tidegate-probe-{}", bench.client.sent()).into();
    } else {
        fields["input_file_id"] = file.into();
    }
    if let Some(endpoint) = handed.endpoint {
        fields["endpoint"] = endpoint.into();
    }
    let call = post(bench, caller, "/v1/batches", fields);
    let answer = bench.send(call).await?;
    if !answer.is_fine() {
        return Ok(Job::Refused(Box::new(answer)));
    }
    let told = answer.json();
    let Some(id) = name(&told, &["id", "batch_id"]) else {
        return Err("the answer to a submission has no `id`".to_owned());
    };
    watch(bench, caller, &id, told).await
}

/// Waits until a job is checked; cancels it when it is right.
async fn watch(bench: &mut Bench<'_>, caller: &Caller, id: &str, mut told: Json) -> Result<Job, String> {
    let until = Instant::now() + VALIDATION;
    loop {
        match told["status"].as_str().unwrap_or("") {
            "failed" => return Ok(Job::Failed(errors(&told))),
            "validating" | "" => {}
            _ => break,
        }
        if Instant::now() > until {
            cancel(bench, caller, id).await?;
            return Err(format!("after {} s the job is still being checked", VALIDATION.as_secs()));
        }
        bench.sleep_until(Instant::now() + Duration::from_millis(200)).await;
        let call = get(bench, caller, &format!("/v1/batches/{id}"));
        let answer = bench.send(call).await;
        match answer {
            Ok(answer) if answer.is_fine() => told = answer.json(),
            Ok(answer) => return Err(format!("a job cannot be looked at: {}", self::told(&answer))),
            Err(why) => {
                cancel(bench, caller, id).await?;
                return Err(why);
            }
        }
    }
    cancel(bench, caller, id).await?;
    Ok(Job::Taken)
}

/// Cancels a job, whatever was spent: it must not go on.
async fn cancel(bench: &mut Bench<'_>, caller: &Caller, id: &str) -> Result<(), String> {
    let call = post(bench, caller, &format!("/v1/batches/{id}/cancel"), json!({}));
    let answer = bench.client.send(call).await?;
    bench.last = Some(Instant::now());
    // What is over cannot be cancelled.
    if answer.is_fine() || matches!(answer.status, 400 | 409) {
        return Ok(());
    }
    Err(format!("job `{id}` was taken and CANNOT BE CANCELLED: {}", told(&answer)))
}

/// The dialect of OpenAI: a form.
async fn upload_by_form(
    bench: &mut Bench<'_>,
    caller: &Caller,
    file: Bytes,
) -> Result<Result<String, Answer>, String> {
    let mut form = Vec::with_capacity(file.len() + 512);
    form.extend_from_slice(
        format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"probe.jsonl\"\r\n\
             content-type: application/jsonl\r\n\r\n"
        )
        .as_bytes(),
    );
    form.extend_from_slice(&file);
    form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let call = Call {
        caller: None,
        method: Method::POST,
        path: "/v1/files".to_owned(),
        headers: vec![("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))],
        body: Bytes::from(form),
        key: bench.key(caller),
    };
    let answer = bench.send(call).await?;
    if !answer.is_fine() {
        return Ok(Err(answer));
    }
    name(&answer.json(), &["id"]).map(Ok).ok_or_else(|| "the answer to an upload has no `id`".to_owned())
}

/// The dialect of DigitalOcean: an address to put the file to, which needs no key.
async fn upload_by_address(
    bench: &mut Bench<'_>,
    caller: &Caller,
    file: Bytes,
) -> Result<Result<String, Answer>, String> {
    let call = post(bench, caller, "/v1/batches/files", json!({ "file_name": "probe.jsonl" }));
    let answer = bench.send(call).await?;
    if !answer.is_fine() {
        return Ok(Err(answer));
    }
    let told = answer.json();
    let (Some(id), Some(address)) = (name(&told, &["file_id", "id"]), name(&told, &["upload_url"])) else {
        return Err("the answer to an upload has no `file_id` or no `upload_url`".to_owned());
    };
    let headers = vec![("content-type", "application/jsonl".to_owned())];
    let call = Call { method: Method::PUT, path: address, headers, body: file, key: None, caller: None };
    let answer = bench.send(call).await?;
    Ok(if answer.is_fine() { Ok(id) } else { Err(answer) })
}

fn post(bench: &Bench<'_>, caller: &Caller, path: &str, fields: Json) -> Call {
    Call {
        method: Method::POST,
        path: path.to_owned(),
        headers: vec![("content-type", "application/json".to_owned())],
        body: Bytes::from(fields.to_string()),
        key: bench.key(caller),
        caller: None,
    }
}

fn get(bench: &Bench<'_>, caller: &Caller, path: &str) -> Call {
    Call {
        method: Method::GET,
        path: path.to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        key: bench.key(caller),
        caller: None,
    }
}

fn name(json: &Json, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| json[*name].as_str()).map(str::to_owned)
}

/// What is wrong with a job, in words: a list, or an object with a list.
fn errors(job: &Json) -> String {
    let errors = &job["errors"];
    let first = errors.get("data").unwrap_or(errors).get(0);
    let Some(first) = first else { return "nothing is said of it".to_owned() };
    let part = |name: &str| first[name].as_str().unwrap_or_default();
    let line = first["line"].as_u64().map_or_else(String::new, |line| format!(" (line {line})"));
    format!("{} {}{line}", part("code"), part("message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sim::jobfile;

    #[test]
    fn files_are_as_long_as_they_should_be_and_right() {
        for bytes in [300, 5_000, (1 << 20) + 1, 3_000_000] {
            let file = filled("gpt", bytes).unwrap();
            assert_eq!(file.len() as u64, bytes);
            let rules = jobfile::Rules { format: None, endpoint: None, requests: None };
            let read = jobfile::read(&file[..], &rules, |_, _| {}).unwrap();
            assert_eq!((read.fault, read.bytes), (None, bytes), "{bytes}");
        }
        assert_eq!(filled("gpt", 100), None);
        let file = lines("gpt", 50);
        assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), 50);
    }
}
