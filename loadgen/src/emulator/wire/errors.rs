//! What is answered when a request is wrong, before any limit is asked: in the words and the form of the vendor.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tidegate_sim::profile::answer;

/// In whose form errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice<'a> {
    /// `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// `{"error_code","message"}`.
    Databricks,
    /// The envelope of the scenario's profile.
    Vendor(&'a str),
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: StatusCode,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// OpenAI's `code`.
    pub code: Option<&'static str>,
    /// The field that it is about.
    pub param: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

const INVALID: &str = "invalid_request_error";

impl Fault {
    fn of(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: String) -> Self {
        Fault { status, kind, code, param: None, message }
    }

    /// A request that is not of the form it must have.
    pub fn bad(param: Option<String>, message: impl Into<String>) -> Self {
        Fault { param, ..Fault::of(StatusCode::BAD_REQUEST, INVALID, None, message.into()) }
    }

    /// A field whose value is not allowed.
    pub fn invalid_value(param: &str, message: impl Into<String>) -> Self {
        Fault { code: Some("invalid_value"), ..Fault::bad(Some(param.to_owned()), message) }
    }

    /// No key, or one that nobody knows. The key is not repeated.
    pub fn key(message: &str) -> Self {
        Fault::of(StatusCode::UNAUTHORIZED, INVALID, Some("invalid_api_key"), message.to_owned())
    }

    /// A key that is good for something else.
    pub fn not_permitted(message: impl Into<String>) -> Self {
        Fault::of(StatusCode::FORBIDDEN, INVALID, Some("insufficient_permissions"), message.into())
    }

    /// A model that is not there, or not for this key.
    pub fn model(name: &str) -> Self {
        let shown: String = name.chars().take(100).collect();
        let message = format!("The model `{shown}` does not exist or you do not have access to it.");
        let code = Some("model_not_found");
        Fault { param: Some("model".into()), ..Fault::of(StatusCode::NOT_FOUND, INVALID, code, message) }
    }

    /// Something of that name that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Fault::of(StatusCode::NOT_FOUND, INVALID, None, message.into())
    }

    /// A path that does not take this method.
    pub fn method(method: &str, path: &str) -> Self {
        let message = format!("Not allowed to {method} on {path}.");
        Fault::of(StatusCode::METHOD_NOT_ALLOWED, INVALID, Some("method_not_supported"), message)
    }

    /// A body of more bytes than are read.
    pub fn too_large(most: u64) -> Self {
        let message = format!("The body has more than {most} bytes.");
        Fault::of(StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large"), message)
    }

    /// A body that did not come in time.
    pub fn too_slow() -> Self {
        let message = "The body did not come in time.".to_owned();
        Fault::of(StatusCode::REQUEST_TIMEOUT, INVALID, Some("request_timeout"), message)
    }

    /// A job that is not in a state for what is asked.
    pub fn conflict(message: impl Into<String>) -> Self {
        Fault::of(StatusCode::CONFLICT, INVALID, None, message.into())
    }

    /// Results that are not there yet.
    pub fn not_ready(message: impl Into<String>) -> Self {
        let code = Some("precondition_failed");
        Fault::of(StatusCode::PRECONDITION_FAILED, INVALID, code, message.into())
    }

    /// The emulator is shutting down.
    pub fn stopping() -> Self {
        let message = "The emulator is shutting down.".to_owned();
        Fault::of(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("service_unavailable"), message)
    }

    /// More is asked of the emulator at once than it holds.
    pub fn full(what: &str) -> Self {
        let message = format!("The emulator holds no more {what} now.");
        Fault::of(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("server_overloaded"), message)
    }

    /// Something went wrong while it was answered.
    pub fn server(status: StatusCode, message: &str) -> Self {
        Fault::of(status, "server_error", Some("server_error"), message.to_owned())
    }

    /// OpenAI's object.
    pub fn openai(&self) -> serde_json::Value {
        serde_json::json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code })
    }

    /// The body in a form.
    pub fn body(&self, voice: Voice<'_>) -> String {
        match voice {
            Voice::OpenAi => serde_json::json!({ "error": self.openai() }).to_string(),
            Voice::Databricks => {
                let code = databricks(self.status.as_u16());
                serde_json::json!({ "error_code": code, "message": self.message }).to_string()
            }
            Voice::Vendor(envelope) => {
                let status = self.status.as_u16();
                // Whoever calls the field `error_code` writes codes in capitals.
                let capitals = envelope.contains("\"error_code\"");
                let code = if capitals { databricks(status) } else { plain(status) };
                answer::say(status, code, &self.message, envelope).body
            }
        }
    }

    /// The whole answer in a form.
    pub fn answer(&self, voice: Voice<'_>) -> Response {
        json(self.status, self.body(voice))
    }
}

/// An answer that is JSON.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Error codes of Databricks' REST interfaces.
fn databricks(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "RESOURCE_DOES_NOT_EXIST",
        405 => "ENDPOINT_NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "RESOURCE_CONFLICT",
        412 => "INVALID_STATE",
        413 => "MAX_REQUEST_SIZE_EXCEEDED",
        429 => "REQUEST_LIMIT_EXCEEDED",
        503 => "TEMPORARILY_UNAVAILABLE",
        500.. => "INTERNAL_ERROR",
        _ => "INVALID_PARAMETER_VALUE",
    }
}

/// Error codes as most others write them.
fn plain(status: u16) -> &'static str {
    match status {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "request_timeout",
        409 => "conflict",
        412 => "precondition_failed",
        413 => "request_too_large",
        422 => "unprocessable_entity",
        429 => "too_many_requests",
        502 => "bad_gateway",
        503 => "service_unavailable",
        504 => "gateway_timeout",
        500.. => "server_error",
        _ => "bad_request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(fault: &Fault, voice: Voice<'_>) -> serde_json::Value {
        serde_json::from_str(&fault.body(voice)).unwrap()
    }

    #[test]
    fn each_vendor_reads_its_own_form() {
        let fault = Fault::model("no \"such\" {limit}");
        let message = "The model `no \"such\" {limit}` does not exist or you do not have access to it.";
        let openai = body(&fault, Voice::OpenAi);
        assert_eq!(
            openai["error"],
            serde_json::json!({ "message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found" })
        );
        assert_eq!(
            body(&fault, Voice::Databricks),
            serde_json::json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": message })
        );
        assert_eq!(
            body(&fault, Voice::Vendor(r#"{"id":"{code}","message":"{message}"}"#)),
            serde_json::json!({ "id": "not_found", "message": message })
        );
        assert_eq!(
            body(&fault, Voice::Vendor(r#"{"error_code":"{code}","message":"{message}"}"#))["error_code"],
            "RESOURCE_DOES_NOT_EXIST"
        );
    }
}
