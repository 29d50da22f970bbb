//! A controller: the batch concurrency that a measured latency allows.

use super::Latest;
use crate::scenario::batch::{ControlLaw, Controller as Rule};

/// What a controller has measured, and what it allows.
#[derive(Clone, Debug)]
pub struct Controller {
    rule: Rule,
    /// What was measured since the last look.
    pub latest: Latest,
    cap: u32,
    sum: f64,
}

impl Controller {
    /// Begins with the least it may allow.
    pub fn new(rule: Rule) -> Self {
        Controller { rule, latest: Latest::default(), cap: rule.least, sum: 0.0 }
    }

    /// Its rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Batch requests that a replica may hold now.
    pub fn cap(&self) -> u32 {
        self.cap
    }

    /// Looks at what was measured and decides anew. Sources: additive increase and multiplicative decrease after Chiu and Jain
    /// 1989; a PI controller in positional form whose integral part is clamped to the bounds of its output.
    pub fn look(&mut self) -> u32 {
        let measured = self.latest.read(self.rule.quantile);
        let target = self.rule.target.as_nanos() as f64;
        let next = match self.rule.law {
            ControlLaw::Aimd { add, permille } => match measured {
                Some(measured) if measured > self.rule.target => {
                    (u64::from(self.cap) * u64::from(permille) / 1_000) as u32
                }
                _ => self.cap.saturating_add(add),
            },
            ControlLaw::Pi { gain, integral } => {
                let error =
                    measured.map_or(1.0, |m| (target - m.as_nanos() as f64) / target).clamp(-1.0, 1.0);
                let most = f64::from(self.rule.most);
                // What the sum asks for by itself stays within bounds: it does not wind up.
                let part =
                    (integral * (self.sum + error)).clamp(f64::from(self.rule.least) / most.max(1.0), 1.0);
                self.sum = if integral > 0.0 { part / integral } else { 0.0 };
                let part = if integral > 0.0 { part } else { 0.0 };
                // The conversion saturates.
                (most * (gain * error + part)).round() as u32
            }
        };
        self.cap = next.clamp(self.rule.least, self.rule.most);
        self.cap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Metric;
    use crate::time::Span;

    fn rule(law: ControlLaw) -> Rule {
        Rule {
            metric: Metric::Ttft,
            quantile: 0.99,
            target: Span::from_millis(100),
            every: Span::from_secs(1),
            law,
            least: 2,
            most: 20,
        }
    }

    fn looks(law: ControlLaw, measured_ms: &[Option<u64>]) -> Vec<u32> {
        let mut controller = Controller::new(rule(law));
        let look = |ms: &Option<u64>| {
            if let Some(ms) = ms {
                controller.latest.add(Span::from_millis(*ms), 10);
            }
            controller.look()
        };
        measured_ms.iter().map(look).collect()
    }

    #[test]
    fn aimd_adds_while_it_may_and_cuts_when_the_target_is_missed() {
        let law = ControlLaw::Aimd { add: 4, permille: 500 };
        let found = looks(law, &[Some(50), None, Some(50), Some(150), Some(150), Some(150), Some(50)]);
        assert_eq!(found, [6, 10, 14, 7, 3, 2, 6]);
        assert_eq!(looks(law, &[Some(1); 9]).last(), Some(&20));
    }

    #[test]
    fn pi_settles_where_the_error_is_zero_and_does_not_wind_up() {
        let law = ControlLaw::Pi { gain: 0.5, integral: 0.1 };
        let up = looks(law, &[Some(10); 40]);
        assert_eq!(up.last(), Some(&20));
        // After a long time at the bound, it comes down as fast as after a short one.
        let down = |before: usize| {
            let mut measured = vec![Some(10); before];
            measured.extend([Some(200); 30]);
            looks(law, &measured)[before..].iter().position(|&cap| cap == 2)
        };
        assert_eq!(down(20), down(400));
        assert!(down(20).is_some());
    }
}
