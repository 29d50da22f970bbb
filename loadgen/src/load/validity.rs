//! Whether a live run is to be believed: did the generator offer what the scenario says?

use super::safety::Cap;
use tidegate_sim::results::live::{Lag, LiveCounts, Validity};
use tidegate_sim::scenario::live::Validity as Bounds;
use tidegate_sim::time::Span;

/// What a verdict is about.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// When requests were sent.
    pub lag: Lag,
    /// What became of them.
    pub counts: LiveCounts,
    /// Caps that were hit.
    pub caps: Vec<Cap>,
    /// Why the run was given up, when it was.
    pub fatal: Option<&'a str>,
    /// Whether somebody stopped it.
    pub interrupted: bool,
    /// What went wrong in the generator itself.
    pub troubles: Vec<String>,
}

/// The verdict, and why it is not [`Validity::Valid`].
///
/// A bound that is kept is fine; up to its double the run is degraded, beyond that it is invalid. A cap that was hit makes
/// it invalid, whatever the lag: requests were held back. So do requests that were never sent, unless somebody stopped the
/// run: then the part that was played stands for itself.
pub fn judge(bounds: &Bounds, evidence: &Evidence<'_>) -> (Validity, Vec<String>) {
    let (mut worst, mut reasons) = (Validity::Valid, Vec::new());
    let mut note = |validity: Validity, reason: String| {
        worst = worst.max(validity);
        reasons.push(reason);
    };
    if let Some(fatal) = evidence.fatal {
        note(Validity::Invalid, fatal.to_owned());
    }
    for cap in &evidence.caps {
        let text = cap.text();
        if evidence.fatal != Some(text) {
            note(Validity::Invalid, text.to_owned());
        }
    }
    for trouble in &evidence.troubles {
        note(Validity::Invalid, trouble.clone());
    }
    let excused = evidence.interrupted || evidence.fatal.is_some() || !evidence.caps.is_empty();
    if evidence.counts.unsent > 0 && !excused {
        note(Validity::Invalid, format!("{} requests were never sent", evidence.counts.unsent));
    }
    if !excused && evidence.counts.failed > 0 && evidence.counts.succeeded + evidence.counts.refused == 0 {
        note(Validity::Invalid, "no request was answered".to_owned());
    }
    if evidence.lag.samples > 0 {
        let (found, most) = (Span::from_nanos(evidence.lag.p99_ns), bounds.lag);
        if found > most {
            let validity = if found <= most * 2 { Validity::Degraded } else { Validity::Invalid };
            note(validity, format!("99 of 100 requests were sent within {found} only, not within {most}"));
        }
        // The double of the share that may be late.
        let (late, most) = (1.0 - evidence.lag.on_time, 1.0 - bounds.on_time);
        if late > most {
            let validity = if late <= most * 2.0 { Validity::Degraded } else { Validity::Invalid };
            let percent = |share: f64| format!("{:.3} %", share * 100.0);
            note(
                validity,
                format!(
                    "{} of requests were later than {}, more than {}",
                    percent(late),
                    bounds.late,
                    percent(most)
                ),
            );
        }
    }
    (worst, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(p99_us: u64, on_time: f64) -> Evidence<'static> {
        let lag = Lag { p99_ns: p99_us * 1_000, on_time, samples: 1_000, ..Lag::default() };
        let counts = LiveCounts { scheduled: 1_000, succeeded: 1_000, ..LiveCounts::default() };
        Evidence { lag, counts, caps: vec![], fatal: None, interrupted: false, troubles: vec![] }
    }

    fn verdict(evidence: &Evidence<'_>) -> Validity {
        judge(&Bounds::default(), evidence).0
    }

    #[test]
    fn up_to_a_bound_a_run_is_valid_up_to_its_double_degraded() {
        assert_eq!(judge(&Bounds::default(), &evidence(1_000, 0.999)), (Validity::Valid, vec![]));
        assert_eq!(verdict(&evidence(1_001, 1.0)), Validity::Degraded);
        assert_eq!(verdict(&evidence(2_000, 1.0)), Validity::Degraded);
        assert_eq!(verdict(&evidence(2_001, 1.0)), Validity::Invalid);
        assert_eq!(verdict(&evidence(10, 0.998_5)), Validity::Degraded);
        assert_eq!(verdict(&evidence(10, 0.99)), Validity::Invalid);
    }

    #[test]
    fn a_cap_that_was_hit_makes_it_invalid_and_is_told_once() {
        let capped = Evidence { caps: vec![Cap::InFlight], ..evidence(10, 1.0) };
        assert_eq!(verdict(&capped), Validity::Invalid);
        let text = Cap::Requests.text();
        let capped = Evidence { caps: vec![Cap::Requests], fatal: Some(text), ..evidence(10, 1.0) };
        assert_eq!(judge(&Bounds::default(), &capped), (Validity::Invalid, vec![text.to_owned()]));
    }

    #[test]
    fn requests_that_were_never_sent_count_unless_somebody_stopped_the_run() {
        let mut unsent = evidence(10, 1.0);
        unsent.counts.unsent = 3;
        assert_eq!(verdict(&unsent), Validity::Invalid);
        unsent.interrupted = true;
        assert_eq!(verdict(&unsent), Validity::Valid);
    }

    #[test]
    fn a_target_that_answers_nothing_was_not_measured() {
        let mut silent = evidence(10, 1.0);
        silent.counts = LiveCounts { scheduled: 9, failed: 9, ..LiveCounts::default() };
        assert_eq!(verdict(&silent), Validity::Invalid);
        silent.counts = LiveCounts { scheduled: 9, failed: 8, refused: 1, ..LiveCounts::default() };
        assert_eq!(verdict(&silent), Validity::Valid, "a gateway that refuses is one");
    }

    #[test]
    fn a_closed_loop_has_no_lag_and_is_not_judged_by_it() {
        let mut closed = evidence(0, 1.0);
        closed.lag = Lag::default();
        assert_eq!(verdict(&closed), Validity::Valid);
    }
}
