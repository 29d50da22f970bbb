//! What the clients of a workload do when an answer does not come.

use super::decode::{At, section, words};
use super::leaf::{Count, Delay, Lasting, Number};

section! {
    /// When a client tries again.
    struct RetryFile {
        /// Most attempts after the first.
        most: At<Count<1, 1_000>>,
        /// Pause before the first retry.
        base: At<Delay> = "500ms",
        /// Each further pause is this many times as long.
        factor: At<Number<1_000, 100_000>> = 2.0,
        /// Longest pause.
        cap: At<Delay> = "30s",
        /// How pauses are spread.
        jitter: At<JitterWord> = "full",
        /// Whether an announced time is waited for, when it is longer than the pause.
        honour_retry_after: At<bool> = true,
        /// Shared by all clients of the workload; no bound when left out.
        budget: Option<At<BudgetFile>>,
        /// What is tried again: `refused`, `expired`, `timed-out` and `lost` when left out.
        on: Option<At<Vec<At<RetryWord>>>>,
        /// No attempt begins later than this after the first; no bound when left out.
        within: Option<At<Lasting>>,
    }
}

words! {
    /// How pauses are spread.
    enum JitterWord {
        /// Not at all.
        None = "none",
        /// Uniform from zero to the pause.
        Full = "full",
        /// Half the pause, and uniform up to the whole.
        Equal = "equal",
    }
}

section! {
    /// Every request pays in a share of a retry, every retry takes one out.
    struct BudgetFile {
        /// What a request pays in.
        ratio: At<Number<0, 10_000>>,
        /// Most retries it can hold, and what it holds at the start.
        burst: At<Count<1, 1_000_000>>,
    }
}

words! {
    /// An end of an attempt after which a client may try again.
    enum RetryWord {
        /// It was turned away.
        Refused = "refused",
        /// It waited too long in the gateway.
        Expired = "expired",
        /// The client's patience ran out.
        TimedOut = "timed-out",
        /// Its replica failed.
        Lost = "lost",
        /// The service cancelled it at an execution limit.
        Failed = "failed",
    }
}

section! {
    /// A second attempt beside the first; the first to complete wins.
    struct HedgeFile {
        /// Sent when an attempt has no first token (on a `slots` pool: no answer) after this time.
        after: At<Lasting>,
        /// Most of them for a request.
        most: At<Count<1, 10>> = 1,
    }
}
