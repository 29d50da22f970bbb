//! What the load generator says of a request in headers: how long its prompt is, and which of the scenario's it is.

use super::errors::Fault;
use crate::emulator::gateway::Mark;
use axum::http::HeaderMap;

/// Length of the prompt, tokens.
pub(super) const PROMPT_TOKENS: &str = "x-tidegate-prompt-tokens";
/// Session (of independent requests: their position in the schedule), turn and replication.
pub(super) const SESSION: &str = "x-tidegate-session";
/// See [`SESSION`].
pub(super) const TURN: &str = "x-tidegate-turn";
/// See [`SESSION`].
pub(super) const REPLICATION: &str = "x-tidegate-replication";

/// What headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) prompt_tokens: Option<u32>,
    pub(super) mark: Option<Mark>,
}

/// Reads them. Only a request that names its session has a mark.
///
/// # Errors
/// When one is no whole number in its range, or belongs to a session that is not named.
pub(super) fn read(headers: &HeaderMap) -> Result<Said, Fault> {
    let prompt_tokens = number(headers, PROMPT_TOKENS, 1, u64::from(u32::MAX))?;
    let session = number(headers, SESSION, 0, 1 << 47)?;
    let turn = number(headers, TURN, 0, u64::from(u32::MAX))?;
    let replication = number(headers, REPLICATION, 0, u64::from(u32::MAX))?;
    let mark = match session {
        Some(session) => Some(Mark {
            replication: replication.unwrap_or(0) as u32,
            session,
            turn: turn.unwrap_or(0) as u32,
        }),
        None if turn.is_some() || replication.is_some() => {
            return Err(Fault::bad(
                None,
                format!("Headers say which turn it is, and not of which session (`{SESSION}`)."),
            ));
        }
        None => None,
    };
    Ok(Said { prompt_tokens: prompt_tokens.map(|tokens| tokens as u32), mark })
}

fn number(headers: &HeaderMap, name: &str, least: u64, most: u64) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number.filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            Err(Fault::bad(None, format!("Header `{name}` is not a whole number from {least} to {most}.")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&'static str, &str)]) -> Result<Said, Fault> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        read(&headers.collect())
    }

    #[test]
    fn a_mark_needs_its_session_and_the_rest_is_the_first() {
        assert_eq!(said(&[]).unwrap(), Said::default());
        let mark = said(&[(SESSION, "7")]).unwrap().mark;
        assert_eq!(mark, Some(Mark { replication: 0, session: 7, turn: 0 }));
        let mark = said(&[(SESSION, "7"), (TURN, "2"), (REPLICATION, "3"), (PROMPT_TOKENS, "9")]).unwrap();
        assert_eq!(mark.mark, Some(Mark { replication: 3, session: 7, turn: 2 }));
        assert_eq!(mark.prompt_tokens, Some(9));
        assert!(said(&[(TURN, "1")]).unwrap_err().message.contains(SESSION));
        for wrong in ["", "-1", "0", "x", "4294967296", "1.0"] {
            let fault = said(&[(PROMPT_TOKENS, wrong)]).unwrap_err();
            assert!(fault.message.contains("from 1 to 4294967295"), "{wrong}: {}", fault.message);
        }
    }
}
