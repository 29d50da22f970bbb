//! Distributions in a scenario file: a single value, or a law by its mean and spread.

use super::batch_file::REQUESTS_MOST;
use super::decode::{At, Decode, choice, section};
use super::diagnostic::Errors;
use super::document::{Node, Value};
use super::leaf::{Amount, Bytes, Count, Cv, Delay, Duration, Lasting, Number, TOKENS_MOST, Tokens};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

/// Largest request body, bytes: what 32 bits hold.
pub(super) const BODY_MOST: u64 = u32::MAX as u64;

/// What a distribution is of: it decides how values and means are written.
pub(super) trait Quantity: Clone + std::fmt::Debug + JsonSchema + 'static {
    /// A value.
    type Value: Decode + Clone + std::fmt::Debug + Magnitude;
    /// A mean, which need not be a possible value.
    type Mean: Decode + Clone + std::fmt::Debug + Magnitude;
}

/// A value as the number a distribution is made of: tokens, turns, or seconds.
pub(super) trait Magnitude {
    fn magnitude(&self) -> f64;
}

macro_rules! quantity {
    ($(#[doc = $doc:literal])* $name:ident: $value:ty, $mean:ty) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $name;

        impl Quantity for $name {
            type Value = $value;
            type Mean = $mean;
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Schema::default()
            }
        }
    };
}

quantity!(
    /// Tokens, at least 1.
    Lengths: Tokens<1, TOKENS_MOST>, Amount
);
quantity!(
    /// Time.
    Times: Delay, Lasting
);
quantity!(
    /// Bytes; a body may be empty.
    Sizes: Bytes<0, BODY_MOST>, Bytes<1, BODY_MOST>
);
quantity!(
    /// Requests of a job, at least 1.
    Requests: Count<1, REQUESTS_MOST>, Number<1_000, { 1_000 * REQUESTS_MOST }>
);
quantity!(
    /// Turns of a conversation, at least 1.
    Turns: Count<1, 10_000>, Number<1_000, 10_000_000>
);

impl<const LO: u32, const HI: u32> Magnitude for Tokens<LO, HI> {
    fn magnitude(&self) -> f64 {
        f64::from(self.0)
    }
}
impl<const LO: u64, const HI: u64> Magnitude for Bytes<LO, HI> {
    fn magnitude(&self) -> f64 {
        self.0 as f64
    }
}
impl<const LO: u64, const HI: u64> Magnitude for Count<LO, HI> {
    fn magnitude(&self) -> f64 {
        self.0 as f64
    }
}
impl<const LO: u64, const HI: u64> Magnitude for Number<LO, HI> {
    fn magnitude(&self) -> f64 {
        self.0
    }
}
impl<const LO: u64, const HI: u64> Magnitude for Duration<LO, HI> {
    fn magnitude(&self) -> f64 {
        self.0.as_secs_f64()
    }
}
impl Magnitude for Amount {
    fn magnitude(&self) -> f64 {
        self.0
    }
}

/// A single value, or a distribution.
#[derive(Clone, Debug)]
pub(super) enum DistFile<Q: Quantity> {
    Single(Q::Value),
    Law(LawFile<Q>),
}

impl<Q: Quantity> Decode for DistFile<Q> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.value {
            Value::Table(_) => LawFile::decode(node, errors).map(Self::Law),
            _ => Q::Value::decode(node, errors).map(Self::Single),
        }
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Self::Single(value) => value.canonical(out),
            Self::Law(law) => law.canonical(out),
        }
    }
}

impl<Q: Quantity> JsonSchema for DistFile<Q> {
    fn schema_name() -> Cow<'static, str> {
        format!("DistributionOf{}", Q::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Q::Value>(), generator.subschema_for::<LawFile<Q>>()];
        schemars::json_schema!({ "description": "A single value, or a distribution.", "anyOf": forms })
    }
}

choice! {
    /// A distribution. `least` and `most` clip what is drawn.
    enum LawFile<Q: Quantity> by kind {
        /// Always the same.
        Constant(ConstantFile<Q>) = "constant",
        /// Anything in a range, equally likely.
        Uniform(UniformFile<Q>) = "uniform",
        /// Exponential.
        Exponential(MeanFile<Q>) = "exponential",
        /// Lognormal, by mean and coefficient of variation.
        Lognormal(MeanCvFile<Q>) = "lognormal",
        /// Gamma, by mean and coefficient of variation.
        Gamma(MeanCvFile<Q>) = "gamma",
        /// Weibull, by mean and coefficient of variation.
        Weibull(MeanCvFile<Q>) = "weibull",
        /// Listed values, by weight.
        Empirical(EmpiricalFile<Q>) = "empirical",
    }
}

section! {
    /// Always the same.
    struct ConstantFile<Q: Quantity> {
        /// The value.
        value: At<Q::Value>,
    }
}

section! {
    /// Anything in a range, equally likely.
    struct UniformFile<Q: Quantity> {
        /// Lowest value.
        least: At<Q::Value>,
        /// Highest value.
        most: At<Q::Value>,
    }
}

section! {
    /// By its mean.
    struct MeanFile<Q: Quantity> {
        /// Mean before clipping.
        mean: At<Q::Mean>,
        /// Draws below become this.
        least: Option<At<Q::Value>>,
        /// Draws above become this.
        most: Option<At<Q::Value>>,
    }
}

section! {
    /// By mean and coefficient of variation.
    struct MeanCvFile<Q: Quantity> {
        /// Mean before clipping.
        mean: At<Q::Mean>,
        /// Standard deviation divided by the mean, before clipping.
        cv: At<Cv>,
        /// Draws below become this.
        least: Option<At<Q::Value>>,
        /// Draws above become this.
        most: Option<At<Q::Value>>,
    }
}

section! {
    /// Listed values.
    struct EmpiricalFile<Q: Quantity> {
        /// What can come.
        values: At<Vec<At<Q::Value>>>,
        /// How often, relative to each other; equally often when left out.
        weights: Option<At<Vec<At<Number<0, 1_000_000_000_000>>>>>,
    }
}
