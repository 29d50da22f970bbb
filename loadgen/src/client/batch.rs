//! Batch jobs over the wire, in OpenAI's dialect and in DigitalOcean's: upload, submit, look, cancel, fetch results.
//!
//! There are few of these calls and none is timed, so they go over reqwest. Sources: OpenAI's Batch API reference;
//! DigitalOcean's documentation of serverless batch inference (upload addresses, a PUT of the file there).

use super::answer;
use super::headers::announced;
use super::request::REASON;
use super::target::Target;
use super::transport::TransportError;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use std::time::{Duration, SystemTime};
use tidegate_sim::scenario::batch::JobState;
use tidegate_sim::scenario::live::Dialect;

/// Longest time of one call.
const CALL: Duration = Duration::from_secs(60);
/// Largest answer that says what a job is at, bytes.
const OBJECT_MOST: usize = 1 << 20;
/// Largest file of results, bytes; what is beyond is not read.
const RESULTS_MOST: usize = 1 << 30;

/// The batch API of a target.
#[derive(Clone, Debug)]
pub struct BatchApi {
    client: reqwest::Client,
    target: Target,
    dialect: Dialect,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The gateway said no.
    Refused {
        /// Status.
        status: u16,
        /// The limit, when the answer names it.
        reason: Option<String>,
        /// Code of the error.
        code: Option<String>,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// It did not answer, or not in the form.
    Broken,
}

/// What a gateway says of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: JobState,
    /// Requests answered.
    pub completed: u32,
    /// Requests that ended otherwise.
    pub failed: u32,
    /// Files with results.
    pub files: Vec<String>,
    /// Code of the first error of its file, when it failed.
    pub code: Option<String>,
    /// Line that it is about.
    pub line: Option<u32>,
}

/// What result files say, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Answered.
    pub completed: u32,
    /// Ended in an error.
    pub failed: u32,
    /// Not done when the window closed.
    pub expired: u32,
    /// Not done when the job was cancelled.
    pub cancelled: u32,
    /// Prompt tokens of answers.
    pub prompt_tokens: u64,
    /// Output tokens of answers.
    pub output_tokens: u64,
}

impl LineCounts {
    /// Adds those of another file.
    pub fn add(&mut self, other: &LineCounts) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
        self.prompt_tokens += other.prompt_tokens;
        self.output_tokens += other.output_tokens;
    }

    /// Lines told of.
    pub fn all(&self) -> u32 {
        self.completed + self.failed + self.expired + self.cancelled
    }
}

#[derive(Deserialize)]
struct Uploaded {
    #[serde(alias = "file_id")]
    id: String,
    #[serde(default)]
    upload_url: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    batch_id: Option<String>,
    status: String,
    #[serde(default)]
    request_counts: Option<Counts>,
    #[serde(default)]
    output_file_id: Option<String>,
    #[serde(default)]
    error_file_id: Option<String>,
    #[serde(default)]
    errors: serde_json::Value,
}

#[derive(Deserialize, Default)]
struct Counts {
    #[serde(default)]
    completed: u32,
    #[serde(default)]
    failed: u32,
}

#[derive(Deserialize)]
struct ResultLine {
    #[serde(default)]
    response: Option<ResultResponse>,
    #[serde(default)]
    error: Option<ResultError>,
}

#[derive(Deserialize)]
struct ResultResponse {
    status_code: u16,
    #[serde(default)]
    body: Option<ResultBody>,
}

#[derive(Deserialize)]
struct ResultBody {
    #[serde(default)]
    usage: Option<ResultUsage>,
}

#[derive(Deserialize, Default)]
struct ResultUsage {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct ResultError {
    #[serde(default)]
    code: Option<String>,
}

impl BatchApi {
    /// The batch API of `target`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(target: &Target, dialect: Dialect) -> Result<Self, TransportError> {
        let client = reqwest::Client::builder()
            .timeout(CALL)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| TransportError::Tls(error.without_url().to_string()))?;
        Ok(BatchApi { client, target: target.clone(), dialect })
    }

    /// Uploads a file of requests; its id.
    ///
    /// # Errors
    /// When the gateway refuses it or does not answer.
    pub async fn upload(
        &self,
        key: Option<&HeaderValue>,
        name: &str,
        file: Vec<u8>,
    ) -> Result<String, CallError> {
        if self.dialect == Dialect::OpenAi {
            let part = reqwest::multipart::Part::bytes(file).file_name(name.to_owned());
            let form = reqwest::multipart::Form::new().text("purpose", "batch").part("file", part);
            let request = self.client.post(self.target.url("/v1/files")).multipart(form);
            return self.call::<Uploaded>(with_key(request, key)).await.map(|file| file.id);
        }
        let body = serde_json::json!({ "file_name": name });
        let request = self.client.post(self.target.url("/v1/batches/files")).json(&body);
        let place = self.call::<Uploaded>(with_key(request, key)).await?;
        let url = place.upload_url.ok_or(CallError::Broken)?;
        // The address is the permission: whoever stores the file need not see the key.
        let answer = self.client.put(url).body(file).send().await.map_err(|_| CallError::Broken)?;
        if answer.status().is_success() { Ok(place.id) } else { Err(refused(answer).await) }
    }

    /// Submits a job over an uploaded file.
    ///
    /// # Errors
    /// When the gateway refuses it or does not answer.
    pub async fn submit(
        &self,
        key: Option<&HeaderValue>,
        file: &str,
        endpoint: &str,
        unique: &str,
    ) -> Result<JobStatus, CallError> {
        let body = match self.dialect {
            Dialect::OpenAi => serde_json::json!({
                "input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
            }),
            Dialect::DigitalOcean => serde_json::json!({
                "file_id": file, "provider": "openai", "endpoint": endpoint, "completion_window": "24h",
                "request_id": unique,
            }),
        };
        self.status_of(with_key(self.client.post(self.target.url("/v1/batches")).json(&body), key)).await
    }

    /// What a job is at.
    ///
    /// # Errors
    /// When the gateway refuses or does not answer.
    pub async fn look(&self, key: Option<&HeaderValue>, job: &str) -> Result<JobStatus, CallError> {
        let url = self.target.url(&format!("/v1/batches/{job}"));
        self.status_of(with_key(self.client.get(url), key)).await
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// When the gateway refuses or does not answer.
    pub async fn cancel(&self, key: Option<&HeaderValue>, job: &str) -> Result<JobStatus, CallError> {
        let url = self.target.url(&format!("/v1/batches/{job}/cancel"));
        self.status_of(with_key(self.client.post(url), key)).await
    }

    /// Reads a file of results and counts its lines as they come: no more than one is kept.
    ///
    /// # Errors
    /// When the gateway refuses or the connection breaks.
    pub async fn results(&self, key: Option<&HeaderValue>, file: &str) -> Result<LineCounts, CallError> {
        let url = self.target.url(&format!("/v1/files/{file}/content"));
        let request = with_key(self.client.get(url), key);
        let mut answer = request.send().await.map_err(|_| CallError::Broken)?;
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        let (mut counts, mut rest, mut read) = (LineCounts::default(), Vec::new(), 0);
        while let Some(bytes) = answer.chunk().await.map_err(|_| CallError::Broken)? {
            read += bytes.len();
            if read > RESULTS_MOST {
                return Err(CallError::Broken);
            }
            rest.extend_from_slice(&bytes);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            rest[..whole].split(|byte| *byte == b'\n').for_each(|line| count(line, &mut counts));
            rest.drain(..whole);
        }
        count(&rest, &mut counts);
        Ok(counts)
    }

    async fn status_of(&self, request: reqwest::RequestBuilder) -> Result<JobStatus, CallError> {
        let object: Object = self.call(request).await?;
        let state = JobState::ALL.into_iter().find(|state| state.name() == object.status);
        let state = state.ok_or(CallError::Broken)?;
        let id = object.id.or(object.batch_id).filter(|id| is_id(id)).ok_or(CallError::Broken)?;
        let counts = object.request_counts.unwrap_or_default();
        let files = [object.output_file_id, object.error_file_id].into_iter().flatten();
        // A list with OpenAI in an object, with DigitalOcean by itself.
        let first = object.errors.get("data").unwrap_or(&object.errors).get(0);
        let field = |name: &str| first.and_then(|first| first.get(name));
        Ok(JobStatus {
            id,
            state,
            completed: counts.completed,
            failed: counts.failed,
            files: files.filter(|id| is_id(id)).collect(),
            code: field("code").and_then(|code| code.as_str()).map(str::to_owned),
            line: field("line").and_then(|line| line.as_u64()).and_then(|line| u32::try_from(line).ok()),
        })
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, CallError> {
        let answer = request.send().await.map_err(|_| CallError::Broken)?;
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        let body = whole(answer, OBJECT_MOST).await.ok_or(CallError::Broken)?;
        serde_json::from_slice(&body).map_err(|_| CallError::Broken)
    }
}

/// What may stand in a path: ids come from outside.
fn is_id(id: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= 256 && id.bytes().all(fine) && id != "." && id != ".."
}

fn with_key(request: reqwest::RequestBuilder, key: Option<&HeaderValue>) -> reqwest::RequestBuilder {
    match key {
        Some(key) => request.header(AUTHORIZATION, key.clone()),
        None => request,
    }
}

async fn whole(mut answer: reqwest::Response, most: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.ok()? {
        if body.len() + bytes.len() > most {
            return None;
        }
        body.extend_from_slice(&bytes);
    }
    Some(body)
}

async fn refused(answer: reqwest::Response) -> CallError {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = whole(answer, OBJECT_MOST).await.unwrap_or_default();
    CallError::Refused {
        status,
        reason: headers.get(REASON).and_then(|reason| reason.to_str().ok()).map(str::to_owned),
        code: answer::read(&body).ok().and_then(|piece| piece.error).and_then(|error| error.code),
        retry_after: announced(&headers, SystemTime::now()).map(|announced| announced.wait()),
    }
}

/// Counts a line of a file of results; an empty one is none, one that cannot be read has failed.
fn count(line: &[u8], counts: &mut LineCounts) {
    if line.trim_ascii().is_empty() {
        return;
    }
    let Ok(line) = serde_json::from_slice::<ResultLine>(line) else {
        counts.failed += 1;
        return;
    };
    let code = line.error.and_then(|error| error.code);
    match (line.response, code.as_deref()) {
        (Some(response), _) if response.status_code == 200 => {
            counts.completed += 1;
            let usage = response.body.and_then(|body| body.usage).unwrap_or_default();
            counts.prompt_tokens += u64::from(usage.prompt_tokens.unwrap_or(0));
            counts.output_tokens += u64::from(usage.completion_tokens.unwrap_or(0));
        }
        (_, Some("batch_expired")) => counts.expired += 1,
        (_, Some("batch_cancelled")) => counts.cancelled += 1,
        _ => counts.failed += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_results_are_counted_by_what_became_of_them() {
        let mut counts = LineCounts::default();
        for line in [
            r#"{"custom_id":"a","response":{"status_code":200,"body":{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}},"error":null}"#,
            r#"{"custom_id":"b","response":{"status_code":429,"body":{"error":{"code":"x"}}},"error":null}"#,
            r#"{"custom_id":"c","response":null,"error":{"code":"batch_expired","message":"m"}}"#,
            r#"{"custom_id":"d","response":null,"error":{"code":"batch_cancelled","message":"m"}}"#,
            "  ",
            "not json",
        ] {
            count(line.as_bytes(), &mut counts);
        }
        let wanted = LineCounts {
            completed: 1,
            failed: 2,
            expired: 1,
            cancelled: 1,
            prompt_tokens: 3,
            output_tokens: 5,
        };
        assert_eq!((counts, counts.all()), (wanted, 5));
    }

    #[test]
    fn ids_from_outside_cannot_leave_their_place_in_a_path() {
        assert!(is_id("batch_00ab-1.x"));
        for id in ["", "..", "a/b", "a?b", "a b", "\u{e9}"] {
            assert!(!is_id(id), "{id}");
        }
    }
}
