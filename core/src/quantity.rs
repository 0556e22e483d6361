//! The Kubernetes quantity notation (`4k`, `1500m`, `2Gi`, `1e3`), read exactly and written short.
//!
//! Grammar: k8s.io/apimachinery `resource.Quantity`: a signed decimal number followed by a binary suffix (`Ki` .. `Ei`), a
//! decimal suffix (`n u m k M G T P E`) or an exponent (`e3`, `E-3`). As there, a value finer than the unit asked for is rounded up.

use thiserror::Error;

use crate::units::{Bytes, Millicpu};

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// The text does not follow the grammar.
    #[error("{text:?} is not a Kubernetes quantity (such as 4k, 1500m or 2Gi)")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// Resources are never negative.
    #[error("{text:?} is negative; an amount of a resource is zero or more")]
    Negative {
        /// What was given.
        text: String,
    },
    /// The number needs more than 64 bits.
    #[error("{text:?} is too large")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

/// CPU in Kubernetes notation (`2` is two CPUs, `1500m` one and a half).
pub fn parse_millicpu(text: &str) -> Result<Millicpu, QuantityError> {
    parse_scaled(text, 3).map(Millicpu::new)
}

/// Memory in Kubernetes notation (`2Gi`, `500M`).
pub fn parse_bytes(text: &str) -> Result<Bytes, QuantityError> {
    parse_scaled(text, 0).map(Bytes::new)
}

/// A plain count, as extended resources are (`4k` is 4000).
pub fn parse_count(text: &str) -> Result<u64, QuantityError> {
    parse_scaled(text, 0)
}

/// The value times ten to the `decimals`, rounded up to a whole number.
fn parse_scaled(text: &str, decimals: i32) -> Result<u64, QuantityError> {
    let syntax = || QuantityError::Syntax {
        text: text.to_owned(),
    };
    let too_large = || QuantityError::TooLarge {
        text: text.to_owned(),
    };

    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at_checked(end).ok_or_else(syntax)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(syntax());
    }
    let (binary_power, decimal_power) = suffix_powers(suffix).ok_or_else(syntax)?;

    // mantissa * 2^binary_power * 10^exponent
    let mut mantissa: u128 = 0;
    for digit in whole
        .chars()
        .chain(fraction.chars())
        .filter_map(|c| c.to_digit(10))
    {
        mantissa = mantissa
            .checked_mul(10)
            .and_then(|m| m.checked_add(u128::from(digit)))
            .ok_or_else(too_large)?;
    }
    if negative && mantissa != 0 {
        return Err(QuantityError::Negative {
            text: text.to_owned(),
        });
    }
    let fraction_digits = i32::try_from(fraction.len()).map_err(|_| too_large())?;
    let exponent = decimal_power
        .saturating_add(decimals)
        .saturating_sub(fraction_digits);
    let scaled = mantissa
        .checked_mul(1u128 << binary_power)
        .ok_or_else(too_large)?;
    let value = if scaled == 0 {
        0
    } else if exponent >= 0 {
        10u128
            .checked_pow(exponent.unsigned_abs())
            .and_then(|p| scaled.checked_mul(p))
            .ok_or_else(too_large)?
    } else {
        // Anything below one unit rounds up to one, however small.
        10u128
            .checked_pow(exponent.unsigned_abs())
            .map_or(1, |p| scaled.div_ceil(p))
    };
    u64::try_from(value).map_err(|_| too_large())
}

/// (power of two, power of ten) of a suffix, `None` where it is unknown.
fn suffix_powers(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        other => (0, other.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// `1500m`, or `2` for whole CPUs.
pub fn format_millicpu(value: Millicpu) -> String {
    let milli = value.get();
    if milli.is_multiple_of(1000) {
        format!("{}", milli / 1000)
    } else {
        format!("{milli}m")
    }
}

/// The largest binary suffix that keeps the value exact (`512Mi`), else plain bytes.
pub fn format_bytes(value: Bytes) -> String {
    let bytes = value.get();
    for (power, suffix) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
        let unit = 1u64 << power;
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{suffix}", bytes / unit);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("4k", 4000)]
    #[case("4000", 4000)]
    #[case("0", 0)]
    #[case("1.5Gi", 1_610_612_736)]
    #[case("2e3", 2000)]
    #[case("1E", 1_000_000_000_000_000_000)]
    #[case(".5k", 500)]
    #[case("1m", 1)]
    #[case("+7", 7)]
    #[case("-0", 0)]
    fn counts(#[case] text: &str, #[case] expected: u64) {
        assert_eq!(parse_count(text), Ok(expected));
    }

    #[rstest]
    #[case("2", 2000)]
    #[case("1500m", 1500)]
    #[case("100n", 1)]
    #[case("0.1", 100)]
    fn cpus(#[case] text: &str, #[case] expected: u64) {
        assert_eq!(parse_millicpu(text), Ok(Millicpu::new(expected)));
    }

    #[rstest]
    #[case("")]
    #[case("k")]
    #[case("1.2.3")]
    #[case("4 k")]
    #[case("4kb")]
    #[case("1e")]
    #[case("½")]
    fn syntax_errors_quote_the_text(#[case] text: &str) {
        assert_eq!(
            parse_count(text),
            Err(QuantityError::Syntax {
                text: text.to_owned()
            })
        );
    }

    #[test]
    fn negative_and_huge_values_are_told_apart() {
        assert!(matches!(
            parse_count("-1"),
            Err(QuantityError::Negative { .. })
        ));
        assert!(matches!(
            parse_count("99E"),
            Err(QuantityError::TooLarge { .. })
        ));
        assert!(matches!(
            parse_count("1e400"),
            Err(QuantityError::TooLarge { .. })
        ));
        assert_eq!(parse_count("1e-400"), Ok(1));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            prop_assert!(parse_count(&text).is_ok() || parse_count(&text).is_err());
        }

        #[test]
        fn written_bytes_read_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse_bytes(&format_bytes(Bytes::new(bytes))), Ok(Bytes::new(bytes)));
        }

        #[test]
        fn written_cpus_read_back(milli in 0..u64::MAX / 1000) {
            prop_assert_eq!(parse_millicpu(&format_millicpu(Millicpu::new(milli))), Ok(Millicpu::new(milli)));
        }
    }
}
