//! What a limit can ask about a request or an operation: named attributes, known or not.
//!
//! A scenario states some of them (an endpoint's kind, a caller's role, the size of a body). An attribute that nobody
//! stated is *unknown*: a limit that depends on it is not evaluated, and is reported as such.

use std::collections::BTreeMap;

/// What the values of an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// One or more words.
    Words,
    /// `yes` or `no`.
    Flag,
    /// One or more whole numbers.
    Number,
    /// One or more sizes in bytes.
    Bytes,
}

macro_rules! attributes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal: $scale:ident),+ $(,)?) => {
        /// An attribute of a request or an operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Attr { $($(#[doc = $doc])+ $name),+ }

        impl Attr {
            /// All attributes.
            pub const ALL: &[Attr] = &[$(Attr::$name),+];

            /// The name used in profiles.
            pub fn name(self) -> &'static str {
                match self { $(Attr::$name => $text),+ }
            }

            /// What its values are.
            pub fn scale(self) -> Scale {
                match self { $(Attr::$name => Scale::$scale),+ }
            }

            /// What it is, in a sentence.
            pub fn about(self) -> &'static str {
                match self { $(Attr::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

attributes! {
    /// What kind of endpoint, in the vendor's words: `custom`, `agent`, `external`, `serverless`, `dedicated`.
    EndpointKind = "endpoint.kind": Words,
    /// Whether the endpoint is route optimized.
    RouteOptimized = "endpoint.route-optimized": Flag,
    /// What its models run on: `cpu` or `gpu`.
    Compute = "endpoint.compute": Words,
    /// Workload size: `small`, `medium`, `large` or `custom`.
    Size = "endpoint.size": Words,
    /// Whether it has init scripts.
    InitScripts = "endpoint.init-scripts": Flag,
    /// Provisioned concurrency of each served model.
    Concurrency = "endpoint.concurrency": Number,
    /// Environment variables of each served model.
    EnvVars = "endpoint.env-vars": Number,
    /// Resident memory of its served models together.
    Memory = "endpoint.memory": Bytes,
    /// Name of the model.
    ModelName = "model.name": Words,
    /// What it does: `chat`, `embedding`, `rerank`, `audio`, `tts`, `image`.
    ModelKind = "model.kind": Words,
    /// Who made it: `openai`, `anthropic`, `meta`.
    ModelProvider = "model.provider": Words,
    /// Where it comes from: `hosted`, `commercial`, `open-source`.
    ModelProvenance = "model.provenance": Words,
    /// Whether the vendor lists it.
    ModelListed = "model.listed": Flag,
    /// Whether its version is stable.
    ModelStable = "model.stable": Flag,
    /// 1 for the newest stable version of its family, 2 for the one before.
    VersionRank = "model.version-rank": Number,
    /// Region of the account or workspace.
    Region = "account.region": Words,
    /// Region of the control plane that serves it.
    ControlPlane = "account.control-plane": Words,
    /// Compliance profiles that are on: `hipaa`, `csp`.
    Compliance = "account.compliance": Words,
    /// Customer tier.
    CustomerTier = "account.tier": Number,
    /// Security tier.
    SecurityTier = "account.security-tier": Words,
    /// Whether it is used in production.
    Production = "account.production": Flag,
    /// Role of the caller.
    Role = "caller.role": Words,
    /// What the caller's token is good for: `valid`, `none`, `no-permission`.
    Auth = "caller.auth": Words,
    /// Whether the caller's address passes the ingress rules: `allowed` or `denied`.
    Ingress = "caller.ingress": Words,
    /// Bytes of the request body.
    Body = "request.body": Bytes,
    /// Messages of a chat request.
    Messages = "request.messages": Number,
    /// Stop sequences.
    Stops = "request.stops": Number,
    /// Completions asked for (`n`).
    Choices = "request.choices": Number,
    /// Kinds of content parts: `text`, `image`, `audio`, `video`, `file`.
    Modality = "request.modality": Words,
    /// Kinds of tools it offers the model: `function`.
    Tools = "request.tools": Words,
    /// Model-specific features it asks for.
    Features = "request.features": Words,
    /// Whether it asks for extended thinking.
    Thinking = "request.thinking": Flag,
    /// Whether it must not be retained.
    ZeroDataRetention = "request.zero-data-retention": Flag,
    /// `strict` when data may not leave its region, else `any`.
    Residency = "request.residency": Words,
    /// MIME type of an uploaded file.
    UploadType = "upload.type": Words,
    /// Rows of an evaluation dataset.
    DatasetRows = "dataset.rows": Number,
    /// Bytes of an evaluation dataset.
    DatasetBytes = "dataset.bytes": Bytes,
    /// Provenance of the models that an evaluation uses, candidate and judge.
    EvaluationModels = "evaluation.models": Words,
    /// Provider that a batch job is meant for: `openai`, `anthropic`.
    BatchProvider = "batch.provider": Words,
    /// Path of the requests of a batch job: `/v1/chat/completions`; `none` when it names none.
    BatchEndpoint = "batch.endpoint": Words,
    /// Kinds of content parts in a batch job: `text`, `image`, `audio`, `video`, `file`.
    BatchContent = "batch.content": Words,
    /// Models that the requests of a batch job name.
    BatchModels = "batch.models": Number,
    /// Completion window of a batch job, in the largest unit that leaves a whole number: `24h`.
    BatchWindow = "batch.window": Words,
    /// Requests of a batch job.
    BatchRequests = "batch.requests": Number,
    /// Bytes of the file of a batch job.
    BatchBytes = "batch.bytes": Bytes,
    /// Name of the limit that somebody asks to raise.
    LimitName = "limit.name": Words,
}

impl Attr {
    /// The attribute of that name.
    pub fn named(name: &str) -> Option<Attr> {
        Attr::ALL.iter().copied().find(|attr| attr.name() == name)
    }
}

/// What is known of a request or an operation.
///
/// An attribute may be known and empty: a request without tools passes every rule about tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    words: BTreeMap<Attr, Vec<String>>,
    numbers: BTreeMap<Attr, Vec<u64>>,
}

impl Subject {
    /// States words; replaces what was stated before.
    pub fn say(&mut self, attr: Attr, words: impl IntoIterator<Item = impl Into<String>>) -> &mut Self {
        debug_assert!(matches!(attr.scale(), Scale::Words | Scale::Flag), "{} has numbers", attr.name());
        self.words.insert(attr, words.into_iter().map(Into::into).collect());
        self
    }

    /// States a flag.
    pub fn flag(&mut self, attr: Attr, yes: bool) -> &mut Self {
        self.say(attr, [if yes { "yes" } else { "no" }])
    }

    /// States numbers.
    pub fn count(&mut self, attr: Attr, numbers: impl IntoIterator<Item = u64>) -> &mut Self {
        debug_assert!(matches!(attr.scale(), Scale::Number | Scale::Bytes), "{} has words", attr.name());
        self.numbers.insert(attr, numbers.into_iter().collect());
        self
    }

    /// Takes over all that `other` states.
    pub fn merge(&mut self, other: &Subject) -> &mut Self {
        self.words.extend(other.words.iter().map(|(attr, words)| (*attr, words.clone())));
        self.numbers.extend(other.numbers.iter().map(|(attr, numbers)| (*attr, numbers.clone())));
        self
    }

    /// The words, when known.
    pub fn words(&self, attr: Attr) -> Option<&[String]> {
        self.words.get(&attr).map(Vec::as_slice)
    }

    /// The numbers, when known.
    pub fn numbers(&self, attr: Attr) -> Option<&[u64]> {
        self.numbers.get(&attr).map(Vec::as_slice)
    }

    /// Whether anything was stated about it.
    pub fn knows(&self, attr: Attr) -> bool {
        self.words.contains_key(&attr) || self.numbers.contains_key(&attr)
    }
}

/// An attribute and the values that satisfy it. `image/*` stands for everything that begins with `image/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which attribute.
    pub attr: Attr,
    /// Words (or numbers, written out).
    pub values: Vec<String>,
}

impl Condition {
    fn admits(&self, value: &str) -> bool {
        self.values.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(start) => value.starts_with(start),
            None => allowed == value,
        })
    }

    fn values_of(&self, subject: &Subject) -> Option<Vec<String>> {
        let numbers = || subject.numbers(self.attr).map(|all| all.iter().map(u64::to_string).collect());
        subject.words(self.attr).map(<[String]>::to_vec).or_else(numbers)
    }

    /// Whether *some* value is among the allowed; `false` when unknown.
    pub fn touches(&self, subject: &Subject) -> bool {
        self.values_of(subject).is_some_and(|values| values.iter().any(|value| self.admits(value)))
    }

    /// Whether *every* value is among the allowed; `None` when unknown.
    pub fn holds(&self, subject: &Subject) -> Option<bool> {
        self.values_of(subject).map(|values| values.iter().all(|value| self.admits(value)))
    }
}
