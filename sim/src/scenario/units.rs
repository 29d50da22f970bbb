//! Numbers with units, exactly: `250ms`, `12/s`, `64k`, `16MB`.
//!
//! A number is an integer mantissa over a power of ten, so that `0.1us` is 100 ns and not 99.99; what does not come
//! out whole is refused, never rounded. What does not fit is refused, never wrapped.

/// A unit and its size in the smallest unit of its kind.
pub(super) type Unit = (&'static str, u128);

/// Time, in femtoseconds.
pub(super) const TIME: [Unit; 10] = [
    ("fs", 1),
    ("ps", 1_000),
    ("ns", FEMTOS_PER_NANO),
    ("us", 1_000 * FEMTOS_PER_NANO),
    ("µs", 1_000 * FEMTOS_PER_NANO),
    ("ms", 1_000_000 * FEMTOS_PER_NANO),
    ("s", FEMTOS_PER_SECOND),
    ("min", 60 * FEMTOS_PER_SECOND),
    ("h", 3_600 * FEMTOS_PER_SECOND),
    ("d", 86_400 * FEMTOS_PER_SECOND),
];
/// Femtoseconds in a nanosecond.
pub(super) const FEMTOS_PER_NANO: u128 = 1_000_000;
const FEMTOS_PER_SECOND: u128 = 1_000_000_000 * FEMTOS_PER_NANO;

/// What a rate may be per, in seconds.
pub(super) const PER: [Unit; 4] = [("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400)];

/// Counts of tokens.
pub(super) const TOKENS: [Unit; 5] =
    [("", 1), ("k", 1_000), ("M", 1_000_000), ("Ki", 1 << 10), ("Mi", 1 << 20)];

/// Amounts of memory, in bytes.
pub(super) const BYTES: [Unit; 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// `mantissa / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    mantissa: u128,
    scale: u32,
}

/// Why a text is not a quantity. Each names what is wrong with it, not where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnitError {
    /// It does not begin with a number.
    NoNumber,
    /// It is below zero.
    Negative,
    /// It has a number only.
    NoUnit,
    /// Its unit is not one of the list.
    UnknownUnit(String),
    /// It is not a whole number of the smallest unit.
    TooFine,
    /// It does not fit.
    TooLarge,
}

/// Splits `12.5 ms` into its number and its unit.
pub(super) fn split(text: &str) -> Result<(Decimal, &str), UnitError> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('-') {
        let numeric = rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        return Err(if numeric { UnitError::Negative } else { UnitError::NoNumber });
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    Ok((decimal(&text[..end])?, text[end..].trim_start()))
}

fn decimal(text: &str) -> Result<Decimal, UnitError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (text.contains('.') && !digits(fraction)) {
        return Err(UnitError::NoNumber);
    }
    let fraction = fraction.trim_end_matches('0');
    let mantissa = format!("{whole}{fraction}").parse().map_err(|_| UnitError::TooLarge)?;
    Ok(Decimal { mantissa, scale: fraction.len() as u32 })
}

impl Decimal {
    /// This many of a unit of the given size, in the smallest unit; it must come out whole.
    pub(super) fn times(self, size: u128) -> Result<u128, UnitError> {
        let product = self.mantissa.checked_mul(size).ok_or(UnitError::TooLarge)?;
        let Some(divisor) = 10u128.checked_pow(self.scale) else { return Err(UnitError::TooFine) };
        if product % divisor != 0 {
            return Err(UnitError::TooFine);
        }
        Ok(product / divisor)
    }

    /// This divided by `divisor`, with one rounding as long as both parts are below 2^53.
    pub(super) fn over(self, divisor: u128) -> f64 {
        match 10u128.checked_pow(self.scale).and_then(|power| power.checked_mul(divisor)) {
            Some(whole) => self.mantissa as f64 / whole as f64,
            None => self.mantissa as f64 / 10f64.powi(self.scale as i32) / divisor as f64,
        }
    }
}

/// The size of `unit` in `units`.
pub(super) fn size_of(unit: &str, units: &[Unit]) -> Result<u128, UnitError> {
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, size)) => Ok(*size),
        None if unit.is_empty() => Err(UnitError::NoUnit),
        None => Err(UnitError::UnknownUnit(unit.to_owned())),
    }
}

/// A quantity such as `1.5k` in its smallest unit.
pub(super) fn quantity(text: &str, units: &[Unit]) -> Result<u128, UnitError> {
    let (number, unit) = split(text)?;
    number.times(size_of(unit, units)?)
}

/// A rate such as `600/min`, per second.
pub(super) fn rate(text: &str) -> Result<f64, UnitError> {
    let (number, rest) = split(text)?;
    let Some(unit) = rest.strip_prefix('/') else {
        return Err(if rest.is_empty() {
            UnitError::NoUnit
        } else {
            UnitError::UnknownUnit(rest.to_owned())
        });
    };
    let period = size_of(unit.trim_start(), &PER).map_err(|_| UnitError::UnknownUnit(rest.to_owned()))?;
    Ok(number.over(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Result<u128, UnitError> {
        let femtos = quantity(text, &TIME)?;
        Decimal { mantissa: femtos, scale: 6 }.times(1)
    }

    #[test]
    fn durations_are_exact() {
        for (text, ns) in [
            ("250ms", 250_000_000),
            ("0.1us", 100),
            ("12.5µs", 12_500),
            ("1.000000001s", 1_000_000_001),
            ("24h", 86_400_000_000_000),
            ("7d", 604_800_000_000_000),
            ("2 min", 120_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(nanos(text), Ok(ns), "{text}");
        }
        assert_eq!(quantity("130ps", &TIME), Ok(130_000));
    }

    #[test]
    fn what_is_not_a_quantity_says_why() {
        use UnitError::*;
        let unknown = |unit: &str| Err(UnknownUnit(unit.to_owned()));
        for (text, error) in [
            ("", Err(NoNumber)),
            ("ms", Err(NoNumber)),
            ("1.ms", Err(NoNumber)),
            (".5s", Err(NoNumber)),
            ("1.2.3s", Err(NoNumber)),
            ("-5s", Err(Negative)),
            ("-x", Err(NoNumber)),
            ("250", Err(NoUnit)),
            ("250msec", unknown("msec")),
            ("1e3s", unknown("e3s")),
            ("٣s", Err(NoNumber)),
            ("0.3fs", Err(TooFine)),
            ("99999999999999999999999999999999999999999s", Err(TooLarge)),
            ("340282366920938463463374607431768211455d", Err(TooLarge)),
            ("0.0000000000000000000000000000000000000000000001s", Err(TooFine)),
        ] {
            assert_eq!(quantity(text, &TIME), error, "{text}");
        }
        assert_eq!(nanos("0.5ns"), Err(TooFine));
    }

    #[test]
    fn rates_are_per_second() {
        assert_eq!(rate("12/s"), Ok(12.0));
        assert_eq!(rate("600/min"), Ok(10.0));
        assert_eq!(rate("0.1/s"), Ok(0.1));
        assert_eq!(rate("36 / h"), Ok(0.01));
        assert_eq!(rate("12"), Err(UnitError::NoUnit));
        assert_eq!(rate("12/w"), Err(UnitError::UnknownUnit("/w".into())));
        assert_eq!(rate("12ms"), Err(UnitError::UnknownUnit("ms".into())));
    }

    #[test]
    fn k_is_a_thousand_and_ki_is_1024() {
        assert_eq!(quantity("64k", &TOKENS), Ok(64_000));
        assert_eq!(quantity("64Ki", &TOKENS), Ok(65_536));
        assert_eq!(quantity("1.5k", &TOKENS), Ok(1_500));
        assert_eq!(quantity("512", &TOKENS), Ok(512));
        assert_eq!(quantity("1.5", &TOKENS), Err(UnitError::TooFine));
        assert_eq!(quantity("16MB", &BYTES), Ok(16_000_000));
        assert_eq!(quantity("1.5GiB", &BYTES), Ok(1_610_612_736));
    }
}
