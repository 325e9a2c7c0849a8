//! Times and sizes as people write them: `5m`, `1h30m`, `10GiB`.
//!
//! Promises: what is printed reads back as the same value. Never: a unit that is guessed; a bare number is an error.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

const TIMES: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];
/// The units that are printed.
const SHOWN_SIZES: usize = 4;

/// A text that is no time or no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Neither `5m` nor a sum as `1h30m`.
    #[error("is no length of time")]
    NoTime,
    /// Not a whole number and a unit.
    #[error("is no size")]
    NoSize,
    /// More than fits.
    #[error("is too large")]
    TooLarge,
}

/// A number of digits alone; nothing where there are none.
fn whole(digits: &str) -> Option<Result<u64, UnitError>> {
    (!digits.is_empty()).then(|| digits.parse().map_err(|_| UnitError::TooLarge))
}

/// A length of time in whole seconds, as `5m` or `1h30m` (units `d h m s`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Span(Duration);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn of_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        let mut seconds: u64 = 0;
        // Units must become smaller from left to right, each at most once.
        let mut larger = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(UnitError::NoTime)?;
            let (number, unit) = rest.split_at(digits);
            let number = whole(number).ok_or(UnitError::NoTime)??;
            let &(_, factor) = TIMES.iter().find(|(name, _)| unit.starts_with(name)).ok_or(UnitError::NoTime)?;
            if factor >= larger {
                return Err(UnitError::NoTime);
            }
            larger = factor;
            seconds = number.checked_mul(factor).and_then(|more| seconds.checked_add(more)).ok_or(UnitError::TooLarge)?;
            rest = unit[1..].trim_start();
        }
        if larger == u64::MAX { Err(UnitError::NoTime) } else { Ok(Self::of_seconds(seconds)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in TIMES {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// A number of bytes, as `10GiB` or `500MB` (`KiB MiB GiB TiB` by 1024, `KB MB GB TB` by 1000, `B`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Bytes(u64);

impl Bytes {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or(UnitError::NoSize)?);
        let unit = unit.trim_start();
        let &(_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(UnitError::NoSize)?;
        let number = whole(number).ok_or(UnitError::NoSize)??;
        number.checked_mul(factor).map(Self).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES[..SHOWN_SIZES].iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_reads_back(seconds in any::<u32>(), bytes in any::<u64>(), shift in 0..40u32) {
            let span = Span::of_seconds(u64::from(seconds));
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            let size = Bytes::new(bytes >> shift << shift);
            prop_assert_eq!(size.to_string().parse::<Bytes>(), Ok(size));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", units in "[0-9dhms KMGiB]{0,30}") {
            let _ = (text.parse::<Span>(), text.parse::<Bytes>(), units.parse::<Span>(), units.parse::<Bytes>());
        }
    }

    #[test]
    fn times_have_units_in_falling_order() {
        assert_eq!("5m".parse(), Ok(Span::of_seconds(300)));
        assert_eq!("1h 30m".parse(), Ok(Span::of_seconds(5_400)));
        for text in ["", "5", "m", "5 minutes", "30m1h", "1h1h", "-5m", "1.5h", "5m5", "é"] {
            assert_eq!(text.parse::<Span>(), Err(UnitError::NoTime), "{text}");
        }
        assert_eq!("999999999999999999d".parse::<Span>(), Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!("10GiB".parse(), Ok(Bytes::new(10 << 30)));
        assert_eq!("500 mb".parse(), Ok(Bytes::new(500_000_000)));
        assert_eq!(Bytes::new(1536 << 20).to_string(), "1536MiB");
        for text in ["", "10", "GiB", "10 G", "1.5GiB", "-1B"] {
            assert_eq!(text.parse::<Bytes>(), Err(UnitError::NoSize), "{text}");
        }
        assert_eq!("99999999TiB".parse::<Bytes>(), Err(UnitError::TooLarge));
    }
}
