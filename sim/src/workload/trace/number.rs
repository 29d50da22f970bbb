//! Decimal text to integers, exactly: no floating point between a trace and a nanosecond.

use super::error::{Problem, shown, token_range};

/// Most tokens a prompt or an output may have: 2^24, far beyond any context, small enough that the square of a
/// length fits 64 bits.
pub const TOKENS_MOST: u32 = 1 << 24;

/// Why text is no usable decimal number.
#[derive(Debug, PartialEq, Eq)]
enum Bad {
    Syntax,
    Negative,
    Overflow,
}

/// `text * 10^shift`, rounded half up, and whether it was exact.
///
/// Accepts `12`, `12.5`, `.5`, `+1`, `1e-05`. O(length).
fn scaled(text: &str, shift: i32) -> Result<(u64, bool), Bad> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], parse_exponent(&digits[at + 1..])?),
        None => (digits, 0),
    };
    let (mut mantissa, mut power, mut exact) = (0u128, i64::from(shift) + i64::from(exponent), true);
    let (mut seen, mut in_fraction) = (false, false);
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                if mantissa < 10u128.pow(36) {
                    mantissa = mantissa * 10 + u128::from(byte - b'0');
                    power -= i64::from(in_fraction);
                } else {
                    // Beyond 36 significant digits only the magnitude matters.
                    exact &= byte == b'0';
                    power += i64::from(!in_fraction);
                }
            }
            b'.' if !in_fraction => in_fraction = true,
            _ => return Err(Bad::Syntax),
        }
    }
    if !seen {
        return Err(Bad::Syntax);
    }
    if mantissa == 0 {
        return Ok((0, true));
    }
    if negative {
        return Err(Bad::Negative);
    }
    let value = if power >= 0 {
        let factor = if power > 38 { None } else { 10u128.checked_pow(power as u32) };
        factor.and_then(|f| mantissa.checked_mul(f)).ok_or(Bad::Overflow)?
    } else if power < -37 {
        exact = false;
        0
    } else {
        let divisor = 10u128.pow(power.unsigned_abs() as u32);
        let rest = mantissa % divisor;
        exact &= rest == 0;
        mantissa / divisor + u128::from(rest >= divisor - rest)
    };
    Ok((u64::try_from(value).map_err(|_| Bad::Overflow)?, exact))
}

fn parse_exponent(text: &str) -> Result<i32, Bad> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Syntax);
    }
    // Beyond a thousand every exponent means the same: overflow or zero.
    Ok(sign * digits.parse::<i32>().map_or(1_000, |e| e.min(1_000)))
}

/// A time of `10^-decimals` seconds as nanoseconds, to the nearest.
pub(super) fn nanos(text: &str, decimals: i32) -> Result<u64, Problem> {
    scaled(text, 9 - decimals).map(|(ns, _)| ns).map_err(|bad| match bad {
        Bad::Syntax => Problem::NotNumber(shown(text)),
        Bad::Negative | Bad::Overflow => {
            let hint = "times count from any start, but neither backwards nor beyond 584 years";
            Problem::Range { value: shown(text), allowed: "0..=18446744073 s", hint }
        }
    })
}

/// A count of tokens, `1..=TOKENS_MOST`.
pub(super) fn tokens(text: &str) -> Result<u32, Problem> {
    match scaled(text, 0) {
        Ok((_, false)) => Err(Problem::NotWhole(shown(text))),
        Ok((count, true)) if (1..=u64::from(TOKENS_MOST)).contains(&count) => Ok(count as u32),
        Ok(_) | Err(Bad::Negative | Bad::Overflow) => Err(token_range(text)),
        Err(Bad::Syntax) => Err(Problem::NotNumber(shown(text))),
    }
}

/// `2023-11-16 18:15:46.6805900` (also with `T`, and with `Z` or `+00:00` behind) as nanoseconds since 1970.
///
/// Up to nine decimals, all exact. Days are counted by the proleptic Gregorian calendar.
pub(super) fn civil_nanos(text: &str) -> Result<u64, Problem> {
    civil(text).ok_or_else(|| Problem::NotTime(shown(text)))
}

fn civil(text: &str) -> Option<u64> {
    let text = text.strip_suffix("+00:00").or_else(|| text.strip_suffix('Z')).unwrap_or(text);
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-dd dd:dd:dd";
    if bytes.len() < shape.len() {
        return None;
    }
    let fits = |(&have, &want): (&u8, &u8)| match want {
        b'd' => have.is_ascii_digit(),
        b' ' => have == b' ' || have == b'T',
        _ => have == want,
    };
    if !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let number =
        |from: usize, to: usize| bytes[from..to].iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month)
    {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match &bytes[19..] {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            number(20, bytes.len()) * 10u64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000_000 + fraction)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let before = |y: u64| (y - 1) * 365 + (y - 1) / 4 - (y - 1) / 100 + (y - 1) / 400;
    let months: u64 = (1..month).map(|m| days_in(year, m)).sum();
    before(year) - before(1970) + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_exact_nanoseconds() {
        for (text, decimals, ns) in [
            ("0", 0, 0),
            ("12.345678901", 0, 12_345_678_901),
            ("1700000000.123456789", 0, 1_700_000_000_123_456_789),
            ("134128", 6, 134_128_000),
            ("1e-05", 0, 10_000),
            ("1.5E3", 0, 1_500_000_000_000),
            (".5", 3, 500_000),
            ("0.0000000005", 0, 1),
            ("0.00000000049", 0, 0),
            ("-0.0", 0, 0),
            ("1e-400", 0, 0),
        ] {
            assert_eq!(nanos(text, decimals), Ok(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", ".", "-", "NaN", "inf", "1e", "1e+", "1..2", "0x10", "1 2", "--1", "e5"] {
            assert!(matches!(nanos(text, 0), Err(Problem::NotNumber(_))), "{text}");
        }
        for text in ["-1", "1e30", "99999999999999999999999999999999999999999999999999999", "-1e-3"] {
            assert!(matches!(nanos(text, 0), Err(Problem::Range { .. })), "{text}");
        }
    }

    #[test]
    fn tokens_are_whole_and_at_least_one() {
        assert_eq!(tokens("374"), Ok(374));
        assert_eq!(tokens("12.0"), Ok(12));
        assert_eq!(tokens("1e3"), Ok(1000));
        assert!(matches!(tokens("12.5"), Err(Problem::NotWhole(_))));
        for text in ["0", "-3", "16777217", "99999999999999999999", "1e1000000000000"] {
            assert!(matches!(tokens(text), Err(Problem::Range { .. })), "{text}");
        }
    }

    #[test]
    fn civil_times_are_exact_to_the_tick() {
        let at = civil_nanos("2023-11-16 18:15:46.6805900").unwrap();
        assert_eq!(at, 1_700_158_546_680_590_000);
        assert_eq!(civil_nanos("2023-11-16T18:15:46.68059Z"), Ok(at));
        assert_eq!(civil_nanos("2023-11-16 18:15:46.680590+00:00"), Ok(at));
        assert_eq!(civil_nanos("1970-01-01 00:00:00"), Ok(0));
        assert_eq!(civil_nanos("2000-03-01 00:00:00").unwrap() / 86_400_000_000_000, 11_017);
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in [
            "2023-02-29 00:00:00",
            "2023-13-01 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:15:4",
            "2023-11-16 18:15:46.",
            "2023-11-16 18:15:46.1234567890",
            "16/11/2023 18:15:46",
            "2023-11-16 18:15:46.68059x",
            "\u{e9}023-11-16 18:15:46",
        ] {
            assert!(civil_nanos(text).is_err(), "{text}");
        }
    }
}
