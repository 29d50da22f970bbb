//! Each kind of claim over facts written out: one that holds and one that does not.

use super::*;
use crate::observe::{JobCounts, JobState, synthetic};
use crate::request::Prefix;
use crate::scenario::policy::reason_of;

fn at(ms: u64) -> Time {
    Time::ZERO + Span::from_millis(ms)
}

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

/// The synthetic scenario with its limits, and one expectation of what arrives between two instants, ms.
fn scenario(stream: Option<Stream>, window: (u64, u64), claims: Vec<Claim>) -> Scenario {
    let mut scenario = synthetic::limited();
    let (from, until) = (at(window.0), at(window.1));
    scenario.policy.expectations = vec![Expectation { name: "it".to_owned(), stream, from, until, claims }];
    scenario
}

/// A request of workload 0 that arrived at `arrived` ms and took `e2e` ms.
fn done(index: u64, arrived: u64, e2e: u64, outcome: Outcome, refusal: Option<Refusal>) -> Finished {
    let head = RequestHead {
        workload: 0,
        tenant: 0,
        index,
        prompt_tokens: 1,
        max_tokens: None,
        session: index,
        turn: 0,
        prefix: Prefix::default(),
        body_bytes: None,
    };
    let arrived = at(arrived);
    Finished {
        outcome,
        refusal,
        head,
        output_tokens: 1,
        generated: 0,
        cached_tokens: 0,
        preemptions: 0,
        pool: 0,
        replica: None,
        sent: arrived,
        arrived,
        ready: arrived,
        dispatched: None,
        scheduled: None,
        first_token: None,
        last_token: None,
        ended: arrived + ms(e2e),
        preempted: Span::ZERO,
        preempted_before_first: Span::ZERO,
        transfer: Span::ZERO,
        attempt: 0,
        beside: Span::ZERO,
    }
}

fn refused(index: u64, arrived: u64, retry_after: Option<Span>) -> Finished {
    let refusal = Refusal { retry_after, ..Refusal::plain(reason_of(0)) };
    done(index, arrived, 0, Outcome::Refused, Some(refusal))
}

/// Six requests: A (timed out), A, R, A (failed), R by a full queue, A; told in the order of their ends.
fn requests() -> Vec<Finished> {
    let full = Some(Refusal::plain(QUEUE_FULL));
    let failed = Some(Refusal::plain(reason_of(1)));
    vec![
        refused(2, 1_000, Some(ms(1_250))),
        done(4, 3_000, 0, Outcome::Refused, full),
        done(5, 4_000, 20, Outcome::Completed, None),
        done(3, 2_000, 9_000, Outcome::Failed, failed),
        done(1, 1_000, 30_000, Outcome::Completed, None),
        done(0, 0, 40_000, Outcome::TimedOut, None),
    ]
}

fn tell(scenario: &Scenario, facts: &[Finished]) -> Vec<Finding> {
    let mut observer = Expectations::new(scenario).unwrap();
    for done in facts {
        observer.finished(done);
    }
    let wait = Refusal { retry_after: Some(ms(1)), ..Refusal::plain(reason_of(0)) };
    observer.operated(at(0), 0, 0, Ok(()));
    observer.operated(at(0), 0, 1, Err(wait));
    observer.operated(at(1_000), 0, 2, Ok(()));
    observer.violated(at(0), 1, &facts[0].head);
    observer.metered(0, &Usage { peak: 7, ..Usage::default() });
    observer.finish()
}

/// What is found of `requests` in a window, claim by claim.
fn found(window: (u64, u64), claims: Vec<Claim>) -> Vec<(String, bool)> {
    let scenario = scenario(Some(Stream::Workload(0)), window, claims);
    tell(&scenario, &requests()).into_iter().map(|finding| (finding.found, finding.holds)).collect()
}

const ALL: (u64, u64) = (0, 600_000);

/// Each claim with what is found of it and whether it holds.
fn expect(window: (u64, u64), cases: Vec<(Claim, &str, bool)>) {
    let (claims, wanted): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(claim, text, holds)| (claim, (text.to_owned(), holds))).unzip();
    for ((claim, found), wanted) in claims.iter().zip(found(window, claims.clone())).zip(wanted) {
        assert_eq!(found, wanted, "{claim:?}");
    }
}

#[test]
fn counts_are_exact() {
    expect(
        ALL,
        vec![
            (Claim::Offered(6), "6", true),
            (Claim::Offered(5), "6", false),
            (Claim::Accepted(4), "4", true),
            (Claim::Accepted(6), "4", false),
            (Claim::Refused(2), "2", true),
            (Claim::Refused(1), "2", false),
            (Claim::Completed(2), "2", true),
            (Claim::Completed(4), "2", false),
            (Claim::Failed(1), "1", true),
            (Claim::Failed(0), "1", false),
            (Claim::ServedBy(0, 2), "2", true),
            (Claim::ServedBy(1, 2), "0", false),
        ],
    );
}

#[test]
fn reasons_and_statuses_count_the_refused_and_the_failed() {
    expect(
        ALL,
        vec![
            (Claim::For(reason_of(0), 1), "1", true),
            (Claim::For(reason_of(1), 1), "1", true),
            (Claim::For(QUEUE_FULL, 1), "1", true),
            (Claim::For(CONTEXT_LENGTH, 1), "0", false),
            // The limit's and the full queue's.
            (Claim::Status(429, 2), "2", true),
            (Claim::Status(504, 1), "1", true),
            (Claim::Status(200, 2), "2", true),
            (Claim::Status(400, 1), "0", false),
            (Claim::Status(404, 0), "0", true),
        ],
    );
}

#[test]
fn a_window_counts_by_arrival_and_is_half_open() {
    let counts = |window| found(window, vec![Claim::Offered(0)])[0].0.clone();
    assert_eq!(counts((1_000, 3_000)), "3");
    assert_eq!(counts((1_001, 3_001)), "2");
    assert_eq!(counts((5_000, 6_000)), "0");
}

#[test]
fn first_and_last_are_instants_of_arrival() {
    expect(
        ALL,
        vec![
            (Claim::FirstAccepted(Some(at(0))), "0s", true),
            (Claim::FirstAccepted(None), "0s", false),
            (Claim::LastAccepted(Some(at(4_000))), "4s", true),
            (Claim::LastAccepted(Some(at(4_001))), "4s", false),
            (Claim::FirstRefused(Some(at(1_000))), "1s", true),
            (Claim::FirstRefused(None), "1s", false),
            (Claim::LastRefused(Some(at(3_000))), "3s", true),
            (Claim::LastRefused(Some(Time::from_nanos(3_000_000_001))), "3s", false),
        ],
    );
    expect((0, 1_000), vec![(Claim::FirstRefused(None), "never", true)]);
    expect((3_000, 3_001), vec![(Claim::LastAccepted(Some(at(3_000))), "never", false)]);
}

#[test]
fn the_exact_wait_is_of_the_first_refused_and_the_announced_one_of_the_last() {
    expect(
        ALL,
        vec![
            (Claim::RetryAfter(Some(ms(1_250))), "1.25s", true),
            (Claim::RetryAfter(Some(ms(1_251))), "1.25s", false),
            // A full queue announces nothing.
            (Claim::Announced(None), "never", true),
            (Claim::Announced(Some(ms(2_000))), "never", false),
        ],
    );
    expect((0, 3_000), vec![(Claim::Announced(Some(ms(2_000))), "2s", true)]);
    expect((3_000, 9_000), vec![(Claim::RetryAfter(None), "never", true)]);
    expect((4_000, 9_000), vec![(Claim::RetryAfter(None), "nothing was refused", false)]);
}

#[test]
fn verdicts_are_in_order_of_arrival_whatever_the_order_of_ends() {
    let claim = |text: &str| Claim::Verdicts(text.to_owned());
    let one = |text: &str, found: &str, holds| expect(ALL, vec![(claim(text), found, holds)]);
    one("AARARA", "AARARA", true);
    one("AARAAA", "AARARA (differs first at number 5)", false);
    one("AARA", "AARA and 2 more", false);
    one("AARARAA", "AARARA", false);
}

#[test]
fn long_verdicts_are_shown_as_runs() {
    let wanted = "A".repeat(30) + &"R".repeat(10);
    let facts = (0..40).map(|i| match i {
        30.. => refused(i, i * 10, None),
        _ => done(i, i * 10, 5_000, Outcome::Completed, None),
    });
    let scenario = scenario(Some(Stream::Workload(0)), ALL, vec![Claim::Verdicts(wanted)]);
    let found = tell(&scenario, &facts.collect::<Vec<_>>());
    assert_eq!(found, [Finding::new("30 A, 10 R".to_owned(), true)]);
}

#[test]
fn each_whole_bin_has_the_same_number_let_in() {
    let each = |bin, n| Claim::Each(ms(bin), n);
    expect((0, 3_000), vec![(each(1_000, 1), "1 in each of 3", true)]);
    // A bin that nothing was let in, one beyond, and one with too many.
    expect((0, 5_000), vec![(each(1_000, 1), "0 from 3s to 4s; 1 of 5 differ", false)]);
    expect((1_000, 3_500), vec![(each(1_000, 2), "1 from 1s to 2s; 2 of 2 differ", false)]);
    expect((0, 4_500), vec![(each(2_000, 2), "1 from 2s to 4s; 1 of 2 differ", false)]);
    expect((3_000, 4_000), vec![(each(500, 0), "0 in each of 2", true)]);
    expect((0, 1_000), vec![(each(500, 0), "1 from 0s to 500ms; 1 of 2 differ", false)]);
    expect((0, 400), vec![(each(500, 1), "no whole bin", false)]);
}

#[test]
fn bins_end_at_the_horizon_when_no_window_is_given() {
    let scenario = scenario(Some(Stream::Workload(0)), ALL, vec![Claim::Each(ms(1_000), 1)]);
    let mut endless = scenario.clone();
    endless.policy.expectations[0].until = Time::MAX;
    assert_eq!(tell(&endless, &requests()), tell(&scenario, &requests()));
    assert_eq!(tell(&scenario, &requests())[0].found, "0 from 3s to 4s; 596 of 600 differ");
}

#[test]
fn latencies_are_of_the_first_that_completed_in_order_of_arrival() {
    expect(
        ALL,
        vec![
            (Claim::E2e(vec![ms(30_000)]), "30s", true),
            (Claim::E2e(vec![ms(30_000), ms(20)]), "30s, 20ms", true),
        ],
    );
    let one = |wanted, found: &str| expect(ALL, vec![(Claim::E2e(wanted), found, false)]);
    one(vec![ms(30_000), ms(21)], "30s, 20ms (differs first at number 2: 20ms)");
    one(vec![ms(30_000), ms(20), ms(1)], "30s, 20ms");
}

#[test]
fn a_call_that_is_let_in_has_completed() {
    let stream = Some(Stream::Operation(0));
    let claims = vec![
        Claim::Completed(2),
        Claim::Status(200, 2),
        Claim::Verdicts("ARA".to_owned()),
        Claim::Announced(Some(ms(1_000))),
        Claim::LastAccepted(Some(at(1_000))),
    ];
    let found = tell(&scenario(stream, ALL, claims), &requests());
    assert!(found.iter().all(|finding| finding.holds), "{found:?}");
    let none = tell(&scenario(Some(Stream::Workload(1)), ALL, vec![Claim::Offered(0)]), &requests());
    assert!(none[0].holds);
}

#[test]
fn violations_and_peaks_are_of_the_whole_run() {
    let claims = vec![Claim::Violations(1, 1), Claim::Violations(0, 1), Claim::Peak(0, 7), Claim::Peak(1, 7)];
    let found = tell(&scenario(None, ALL, claims), &requests());
    let found: Vec<_> = found.iter().map(|finding| (&finding.found[..], finding.holds)).collect();
    assert_eq!(found, [("1", true), ("0", false), ("7", true), ("0", false)]);
}

/// The synthetic scenario with batch, and one expectation of its jobs.
fn of_jobs(window: (u64, u64), claims: Vec<Claim>) -> Scenario {
    let mut scenario = synthetic::batched();
    let (from, until) = (at(window.0), at(window.1));
    let stream = Some(Stream::Batch(0));
    scenario.policy.expectations = vec![Expectation { name: "it".to_owned(), stream, from, until, claims }];
    scenario
}

/// Three jobs of ten requests: one is completed at 31 s, one expires at 130 s, one fails for its seventh line at once.
fn jobs() -> Vec<(u64, JobFact)> {
    let fact = |job, created, state, completed, expired, enqueued| JobFact {
        batch: 0,
        job,
        owner: 3,
        state,
        created: at(created),
        expires: at(created) + ms(120_000),
        requests: JobCounts { total: 10, completed, expired, ..JobCounts::default() },
        tokens: 1_000,
        enqueued,
        refusal: None,
        line: 0,
    };
    let full = Some(Refusal::plain(QUEUE_FULL));
    vec![
        (0, fact(0, 0, JobState::InProgress, 0, 0, 1_000)),
        (10_000, fact(1, 10_000, JobState::InProgress, 0, 0, 2_000)),
        (20_000, JobFact { refusal: full, line: 7, ..fact(2, 20_000, JobState::Failed, 0, 0, 2_000) }),
        (30_000, fact(0, 0, JobState::Finalizing, 10, 0, 1_000)),
        (31_000, fact(0, 0, JobState::Completed, 10, 0, 1_000)),
        (130_000, fact(1, 10_000, JobState::Expired, 4, 6, 0)),
    ]
}

/// Each claim of jobs with what is found of it and whether it holds.
fn expect_of_jobs(window: (u64, u64), cases: Vec<(Claim, &str, bool)>) {
    let scenario = of_jobs(window, cases.iter().map(|(claim, ..)| claim.clone()).collect());
    let mut observer = Expectations::new(&scenario).unwrap();
    jobs().iter().for_each(|(now, fact)| observer.job(at(*now), fact));
    for ((claim, text, holds), found) in cases.into_iter().zip(observer.finish()) {
        assert_eq!((&found.found[..], found.holds), (text, holds), "{claim:?}");
    }
}

#[test]
fn jobs_and_their_requests_are_counted_whole() {
    let states = |completed, failed, expired| {
        let mut states = [0; JobState::ALL.len()];
        states[JobState::Completed as usize] = completed;
        states[JobState::Failed as usize] = failed;
        states[JobState::Expired as usize] = expired;
        Claim::Jobs(states)
    };
    expect_of_jobs(
        ALL,
        vec![
            (states(1, 1, 1), "1 failed, 1 completed, 1 expired", true),
            // What is not named must be 0.
            (states(1, 0, 1), "1 failed, 1 completed, 1 expired", false),
            (Claim::JobRequests([14, 0, 6, 0, 10]), "14 completed, 6 expired, 10 unfinished", true),
            (Claim::JobRequests([14, 0, 6, 0, 0]), "14 completed, 6 expired, 10 unfinished", false),
            (Claim::JobsFor(QUEUE_FULL, 1), "1", true),
            (Claim::JobsFor(CONTEXT_LENGTH, 1), "0", false),
            (Claim::EnqueuedPeak(2_000), "2000", true),
            (Claim::EnqueuedEnd(1_000), "0", false),
        ],
    );
    expect_of_jobs((0, 10_000), vec![(states(1, 0, 0), "1 completed", true)]);
    expect_of_jobs((30_000, 40_000), vec![(states(0, 0, 0), "none", true)]);
}

#[test]
fn each_job_has_its_state_its_end_and_its_line_in_order_of_submission() {
    use JobState::{Completed, Expired, Failed};
    let end = |ms| Some(at(ms));
    expect_of_jobs(
        ALL,
        vec![
            (Claim::JobStates(vec![Completed, Expired, Failed]), "completed, expired, failed", true),
            (
                Claim::JobStates(vec![Completed, Completed, Failed]),
                "completed, expired, failed (differs first at job 1: expired)",
                false,
            ),
            (Claim::JobStates(vec![Completed]), "completed, expired, failed (3 jobs, not 1)", false),
            (Claim::JobEnds(vec![end(31_000), end(130_000), end(20_000)]), "31s, 130s, 20s", true),
            (
                Claim::JobEnds(vec![end(31_000), None, end(20_000)]),
                "31s, 130s, 20s (differs first at job 1: 130s)",
                false,
            ),
            (Claim::JobLines(vec![0, 0, 7]), "0, 0, 7", true),
            (Claim::JobLines(vec![0, 0, 0]), "0, 0, 7 (differs first at job 2: 7)", false),
        ],
    );
    expect_of_jobs((30_000, 40_000), vec![(Claim::JobEnds(Vec::new()), "none", true)]);
}

#[test]
fn claims_of_jobs_speak_of_submissions() {
    let scenario = of_jobs((10_000, 20_000), vec![Claim::JobEnds(vec![None, Some(at(130_000))])]);
    let row = &Found::default().rows(&scenario)[0];
    assert_eq!(row.claim, "ends of jobs, of submissions from 10s to 20s");
    assert_eq!(row.expected, "never, 130s");
}

#[test]
fn every_replication_must_hold_and_the_first_that_does_not_is_shown() {
    let claims = vec![Claim::Offered(6), Claim::Refused(2)];
    let scenario = scenario(Some(Stream::Workload(0)), (0, 10_000), claims);
    let all = requests();
    let mut found = Found::default();
    assert_eq!(found.rows(&scenario)[0].verdict, Verdict::Inconclusive);
    for facts in [&all[..], &all[..5], &all[..3]] {
        found.take(tell(&scenario, facts));
    }
    let rows = found.rows(&scenario);
    assert_eq!(rows[0].claim, "offered, of arrivals from 0s to 10s");
    assert_eq!((&rows[0].found[..], rows[0].replication, rows[0].verdict), ("5", Some(1), Verdict::Violated));
    assert_eq!(rows[0].reason(), "expected 6, found 5 in replication 1");
    assert_eq!((&rows[1].found[..], rows[1].replication, rows[1].verdict), ("2", None, Verdict::Holds));
}

#[test]
fn nothing_expected_is_nothing_watched() {
    assert!(Expectations::new(&synthetic::scenario()).is_none());
}

#[test]
fn times_off_by_a_nanosecond_show_it() {
    for (ns, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_001, "1.001us"),
        (50_000_000, "50ms"),
        (1_000_000_001, "1.000000001s"),
        (250_000_000_000, "250s"),
    ] {
        assert_eq!(text::never_or(Some(Span::from_nanos(ns))), text);
    }
}
