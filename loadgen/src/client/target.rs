//! Where requests go: scheme, host, port and the beginning of paths.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

/// Address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    https: bool,
    host: String,
    port: u16,
    /// What stands before every path; empty or `/…` without a slash at its end.
    base: String,
}

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not of the form.
    #[error("`{0}` is no address of a gateway: {1}")]
    Form(String, &'static str),
    /// The name is not known.
    #[error("cannot find `{0}`: {1}")]
    Unknown(String, String),
}

impl Target {
    /// Parses `http://HOST[:PORT][/PATH]` or `https://…`. A `/v1` at the end is dropped, because paths have it.
    ///
    /// # Errors
    /// When it is of another form; user, query and fragment are refused.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        // Not the whole text in the message: what stands before an `@` is a secret.
        let wrong = |why| TargetError::Form(text.rsplit('@').next().unwrap_or_default().to_owned(), why);
        let (https, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(wrong("it begins with `http://` or `https://`")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if rest.contains(['?', '#']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it has a host, a port and a path, and nothing else"));
        }
        if authority.contains('@') {
            return Err(wrong("keys come from the environment or a file, never from an address"));
        }
        let uri: hyper::Uri = authority.parse().map_err(|_| wrong("host or port cannot be read"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
        if authority.rsplit(']').next().unwrap_or_default().contains(':') && uri.port_u16().is_none() {
            return Err(wrong("the port is a number from 1 to 65535"));
        }
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let base = path.trim_end_matches('/');
        let base = base.strip_suffix("/v1").unwrap_or(base);
        Ok(Target { https, host: host.to_owned(), port, base: base.to_owned() })
    }

    /// Whether it speaks TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether it is this machine, by its address; a name other than `localhost` never is.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Host and port, as the `host` header has them: the port is left out when it is the scheme's own.
    pub fn authority(&self) -> String {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// The path of a request as it goes over the wire.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The whole address of a request.
    pub fn url(&self, path: &str) -> String {
        format!("{self}{}", self.path(path))
    }

    /// Its addresses, at least one.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, TargetError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let unknown = |why: String| TargetError::Unknown(self.host.clone(), why);
        let found = (host, self.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        let mut found: Vec<SocketAddr> = found.collect();
        // Servers on this machine rarely listen on both.
        found.sort_by_key(|address| address.is_ipv6());
        if found.is_empty() { Err(unknown("it has no address".into())) } else { Ok(found) }
    }

    /// Whether it begins with one of `allowed`, prefixes of addresses. A prefix ends where a part of the address does:
    /// `https://a.example` does not allow `https://a.example.net`.
    pub fn is_among(&self, allowed: &[String]) -> bool {
        let whole = format!("{self}{}/", self.base);
        allowed.iter().any(|prefix| {
            let prefix = prefix.trim_end_matches('/');
            let prefix = prefix.strip_suffix("/v1").unwrap_or(prefix);
            whole.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['/', ':']))
        })
    }
}

impl fmt::Display for Target {
    /// Scheme, host and port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn parts_are_found_and_a_version_at_the_end_is_not_said_twice() {
        let found = target("http://127.0.0.1:8080");
        assert_eq!(
            (found.to_string(), found.path("/v1/models")),
            ("http://127.0.0.1:8080".into(), "/v1/models".into())
        );
        assert_eq!(
            target("https://api.example/base/v1/").url("/v1/models"),
            "https://api.example/base/v1/models"
        );
        assert_eq!(target("https://[::1]:8443/x").url("/y"), "https://[::1]:8443/x/y");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for text in ["http://127.0.0.1:1", "http://localhost", "http://[::1]:80", "https://127.9.9.9"] {
            assert!(target(text).is_loopback(), "{text}");
        }
        for text in
            ["http://10.0.0.1", "http://localhost.example", "https://example.com", "http://0.0.0.0:80"]
        {
            assert!(!target(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_secrets_in_it_are_not_shown() {
        for text in ["", "example.com", "ftp://x", "http://", "http://h:99999", "http://h/?a=b", "http://a b"]
        {
            assert!(Target::parse(text).is_err(), "{text}");
        }
        let error = Target::parse("http://user:sk-canary@h/").unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn an_allowed_prefix_ends_where_a_part_of_the_address_does() {
        let allowed = vec!["https://a.example/".to_owned(), "https://b.example/base".to_owned()];
        assert!(target("https://a.example/v1").is_among(&allowed));
        assert!(target("https://a.example:444").is_among(&allowed));
        assert!(!target("https://a.example.net").is_among(&allowed));
        assert!(!target("http://a.example").is_among(&allowed));
        assert!(target("https://b.example/base/v1").is_among(&allowed));
        assert!(!target("https://b.example/other").is_among(&allowed));
    }
}
