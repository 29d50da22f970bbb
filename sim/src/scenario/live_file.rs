//! `[live]` and `[workloads.NAME.live]`: how a scenario is played against a live gateway.

use super::decode::{At, section, words};
use super::leaf::{Duration, Lasting, Number, Share, Text};

const US: u64 = 1_000;
const MINUTE: u64 = 60_000_000_000;

section! {
    /// How the scenario is played against a live gateway, and what an emulated one does wrong. Simulations ignore it.
    struct LiveFile {
        /// Addresses beyond this machine that `load` and `probe` may use without `--yes`: prefixes of URLs.
        targets: Option<At<Vec<At<Text>>>>,
        /// How batch jobs are submitted.
        dialect: At<DialectWord> = "openai",
        /// What tokens cost, for the estimate before a run.
        prices: Option<At<TokenPricesFile>>,
        /// When a run is to be believed.
        validity: At<ValidityFile> = {},
        /// What an emulated gateway does wrong.
        trouble: At<TroubleFile> = {},
    }
}

words! {
    /// How batch jobs are submitted.
    enum DialectWord {
        /// Upload to `/v1/files`, then `/v1/batches`.
        OpenAi = "openai",
        /// An upload address from `/v1/batches/files`, a PUT of the file there, then `/v1/batches`.
        DigitalOcean = "digitalocean",
    }
}

section! {
    /// What a million tokens cost, in any one currency.
    struct TokenPricesFile {
        /// A million prompt tokens.
        prompt: At<Number<0, 1_000_000_000>>,
        /// A million output tokens.
        output: At<Number<0, 1_000_000_000>>,
    }
}

section! {
    /// Bounds of a valid run; beyond twice a bound it is invalid, between the two it is degraded.
    struct ValidityFile {
        /// 99 of 100 requests are sent within this after they were due.
        lag: At<Duration<US, MINUTE>> = "1ms",
        /// A request is on time when it is sent within this after it was due.
        late: At<Duration<US, MINUTE>> = "5ms",
        /// Share of requests that must be on time.
        on_time: At<Share> = "99.9%",
    }
}

section! {
    /// What an emulated gateway does wrong: shares of the requests it lets in. Together at most 100 %.
    struct TroubleFile {
        /// The connection is reset in the middle of the answer.
        resets: At<Share> = "0%",
        /// The answer stands still after its first event.
        stalls: At<Share> = "0%",
        /// How long it stands still.
        stall: At<Lasting> = "5s",
        /// The answer is status 500.
        server_errors: At<Share> = "0%",
        /// An error comes as an event of a stream that began with status 200.
        stream_errors: At<Share> = "0%",
    }
}

section! {
    /// How the requests of a workload look on the wire.
    struct WireFile {
        /// Path and body.
        api: At<ApiWord> = "chat",
        /// Whether answers are streamed; embeddings never are.
        stream: Option<At<bool>>,
        /// Name of the model (of the endpoint, with `databricks`) on the wire; that of the scenario when left out.
        name: Option<At<Text>>,
        /// Environment variable that holds its key; `TIDEGATE_API_KEY` when left out.
        key_env: Option<At<Text>>,
    }
}

words! {
    /// Path and body of requests.
    enum ApiWord {
        /// `/v1/chat/completions`.
        Chat = "chat",
        /// `/v1/completions`.
        Completions = "completions",
        /// `/v1/embeddings`.
        Embeddings = "embeddings",
        /// `/serving-endpoints/NAME/invocations`.
        Databricks = "databricks",
    }
}
