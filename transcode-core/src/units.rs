//! The units that everything else is said in.
//!
//! Owns checked, exact quantities: bit rates in bit/s, frame rates and times as rationals,
//! picture sizes in pixels. Knows nothing of media, plans or GStreamer. Rule: a float may be
//! shown to a person, it never decides a cut.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A text that should have been a quantity, and what would have been accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {allowed}")]
pub struct UnitError {
    /// What was given.
    pub text: String,
    /// What it should have been, with its article: "a bit rate".
    pub what: &'static str,
    /// What is allowed, with an example.
    pub allowed: &'static str,
}

fn unit_error(text: &str, what: &'static str, allowed: &'static str) -> UnitError {
    UnitError { text: text.to_owned(), what, allowed }
}

macro_rules! serde_by_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A bit rate in bit/s; never zero.
///
/// Reads `8M`, `800k`, `2_500_000`, `4Mbit/s`, `2.5M`; the suffixes are decimal (k = 1000).
///
/// ```
/// use transcode_core::units::Bitrate;
/// let rate: Bitrate = "2.5M".parse()?;
/// assert_eq!(rate.bits_per_second(), 2_500_000);
/// assert_eq!(rate.to_string(), "2.5M");
/// # Ok::<(), transcode_core::units::UnitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    const ALLOWED: &'static str =
        "write bit/s from 1k to 1G, with k or M for thousands or millions, such as 800k or 2.5M";

    /// From bit/s; `None` outside 1 kbit/s to 1 Gbit/s.
    pub const fn new(bits_per_second: u64) -> Option<Self> {
        if bits_per_second >= 1_000 && bits_per_second <= 1_000_000_000 {
            Some(Self(bits_per_second))
        } else {
            None
        }
    }

    /// The rate in bit/s.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// The rate in kbit/s, rounded to the nearest (x264's unit).
    pub const fn kbits_per_second(self) -> u64 {
        (self.0 + 500) / 1_000
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, suffix) = if self.0 >= 1_000_000 { (1_000_000, "M") } else { (1_000, "k") };
        let (whole, rest) = (self.0 / unit, self.0 % unit);
        if rest == 0 {
            return write!(f, "{whole}{suffix}");
        }
        let digits = if unit == 1_000 { 3 } else { 6 };
        let rest = format!("{rest:0digits$}");
        write!(f, "{whole}.{}{suffix}", rest.trim_end_matches('0'))
    }
}

impl FromStr for Bitrate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || unit_error(text, "a bit rate", Self::ALLOWED);
        let body = text.trim().replace('_', "");
        let body = body.strip_suffix("bit/s").or(body.strip_suffix("bps")).unwrap_or(&body).trim();
        let (number, unit) = match body.char_indices().last() {
            Some((at, 'k' | 'K')) => (&body[..at], 1_000),
            Some((at, 'm' | 'M')) => (&body[..at], 1_000_000),
            Some((at, 'g' | 'G')) => (&body[..at], 1_000_000_000),
            _ => (body, 1),
        };
        let (num, den) = parse_decimal(number.trim()).ok_or_else(error)?;
        let value = i128::from(num) * unit / i128::from(den);
        u64::try_from(value).ok().and_then(Self::new).ok_or_else(error)
    }
}

serde_by_text!(Bitrate);

/// `12`, `12.5`, `.5` as an exact fraction; at most nine decimals.
fn parse_decimal(text: &str) -> Option<(i64, u32)> {
    let (whole, frac) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && frac.is_empty()) || frac.len() > 9 || whole.len() > 12 {
        return None;
    }
    if !whole.chars().chain(frac.chars()).all(|c| c.is_ascii_digit()) {
        return None;
    }
    let den = 10u32.pow(u32::try_from(frac.len()).ok()?);
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let frac: i64 = if frac.is_empty() { 0 } else { frac.parse().ok()? };
    Some((whole.checked_mul(i64::from(den))?.checked_add(frac)?, den))
}

const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Pictures a second, exactly: 29.97 is 30000/1001. Always in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    num: NonZeroU32,
    den: NonZeroU32,
}

impl FrameRate {
    /// From `num / den` pictures a second; `None` where either is zero.
    pub fn new(num: u32, den: u32) -> Option<Self> {
        let (num, den) = (NonZeroU32::new(num)?, NonZeroU32::new(den)?);
        let divisor = u32::try_from(gcd(u128::from(num.get()), u128::from(den.get()))).ok()?;
        Some(Self { num: NonZeroU32::new(num.get() / divisor)?, den: NonZeroU32::new(den.get() / divisor)? })
    }

    /// The numerator, in lowest terms.
    pub const fn num(self) -> u32 {
        self.num.get()
    }

    /// The denominator, in lowest terms.
    pub const fn den(self) -> u32 {
        self.den.get()
    }

    /// For showing only: pictures a second as a float.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num.get()) / f64::from(self.den.get())
    }

    /// The exact time of picture `index`, counted from picture 0 at time zero.
    pub fn time_of(self, index: u64) -> MediaTime {
        MediaTime::from_i128(i128::from(index) * i128::from(self.den.get()), u128::from(self.num.get()))
    }

    /// The picture on whose slot `time` falls: the nearest, a half rounds up. Negative before zero.
    pub fn nearest(self, time: MediaTime) -> i64 {
        let num = i128::from(time.num) * i128::from(self.num.get()) * 2;
        let den = i128::from(time.den.get()) * i128::from(self.den.get());
        clamp_i64((num + den).div_euclid(den * 2))
    }

    /// The first picture at or after `time`.
    pub fn ceil(self, time: MediaTime) -> i64 {
        let num = i128::from(time.num) * i128::from(self.num.get());
        let den = i128::from(time.den.get()) * i128::from(self.den.get());
        clamp_i64(-((-num).div_euclid(den)))
    }
}

impl PartialOrd for FrameRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FrameRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u64::from(self.num.get()) * u64::from(other.den.get());
        let right = u64::from(other.num.get()) * u64::from(self.den.get());
        left.cmp(&right)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den.get() {
            1 => write!(f, "{}", self.num),
            den => write!(f, "{}/{den}", self.num),
        }
    }
}

impl FromStr for FrameRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || {
            unit_error(text, "a frame rate", "write a whole number or a fraction, such as 25 or 30000/1001")
        };
        let (num, den) = text.trim().split_once('/').unwrap_or((text.trim(), "1"));
        let num = num.trim().parse().map_err(|_| error())?;
        let den = den.trim().parse().map_err(|_| error())?;
        Self::new(num, den).ok_or_else(error)
    }
}

serde_by_text!(FrameRate);

/// A time or a length in seconds, exactly: a fraction in lowest terms.
///
/// Reads `6s`, `1.5s`, `250ms`, `90`, `1:30`, `1:02:03.5` and the exact form `1001/30000s`,
/// which is also what it writes where the value is not a whole number of milliseconds.
///
/// ```
/// use transcode_core::units::MediaTime;
/// let time: MediaTime = "1:02:03.5".parse()?;
/// assert_eq!(time, "3723500ms".parse()?);
/// assert_eq!(MediaTime::new(1001, 30000).map(|t| t.to_string()), Some("1001/30000s".to_owned()));
/// # Ok::<(), transcode_core::units::UnitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MediaTime {
    num: i64,
    den: NonZeroU32,
}

impl MediaTime {
    /// Zero seconds.
    pub const ZERO: Self = Self { num: 0, den: NonZeroU32::MIN };

    const ALLOWED: &'static str = "write seconds or a clock, such as 6s, 250ms, 90 or 1:02:03.5";

    /// `num / den` seconds; `None` where `den` is zero.
    pub fn new(num: i64, den: u32) -> Option<Self> {
        NonZeroU32::new(den).map(|den| Self::from_i128(i128::from(num), u128::from(den.get())))
    }

    /// Whole nanoseconds, GStreamer's clock.
    pub fn from_nanos(nanos: i64) -> Self {
        Self::from_i128(i128::from(nanos), 1_000_000_000)
    }

    /// `num / den` reduced; where the reduced fraction is still too fine for 32 bits below the
    /// line, the nearest nanosecond.
    fn from_i128(num: i128, den: u128) -> Self {
        debug_assert!(den != 0);
        let divisor = gcd(num.unsigned_abs(), den).max(1);
        let (reduced, below) = (num / divisor as i128, den / divisor);
        if let (Ok(num), Ok(below)) = (i64::try_from(reduced), u32::try_from(below)) {
            if let Some(den) = NonZeroU32::new(below) {
                return Self { num, den };
            }
        }
        let nanos = num.saturating_mul(1_000_000_000) / (den.max(1) as i128);
        let divisor = gcd(nanos.unsigned_abs(), 1_000_000_000).max(1);
        let den = u32::try_from(1_000_000_000 / divisor).ok().and_then(NonZeroU32::new);
        Self { num: clamp_i64(nanos / divisor as i128), den: den.unwrap_or(NonZeroU32::MIN) }
    }

    /// Nanoseconds, rounded to the nearest.
    pub fn nanos(self) -> i64 {
        let den = i128::from(self.den.get());
        clamp_i64((i128::from(self.num) * 2_000_000_000 + den).div_euclid(den * 2))
    }

    /// How many ticks of a clock with `rate` ticks a second, rounded to the nearest.
    pub fn ticks(self, rate: u32) -> i64 {
        let den = i128::from(self.den.get());
        clamp_i64((i128::from(self.num) * i128::from(rate) * 2 + den).div_euclid(den * 2))
    }

    /// For showing only: seconds as a float.
    pub fn as_secs_f64(self) -> f64 {
        self.num as f64 / f64::from(self.den.get())
    }

    /// Below zero.
    pub const fn is_negative(self) -> bool {
        self.num < 0
    }

    /// As the standard library's duration; zero where negative.
    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.nanos()).unwrap_or(0))
    }
}

fn clamp_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl std::ops::Add for MediaTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (i128::from(self.den.get()), i128::from(other.den.get()));
        Self::from_i128(i128::from(self.num) * b + i128::from(other.num) * a, (a * b).unsigned_abs())
    }
}

impl std::ops::Sub for MediaTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + Self { num: -other.num, den: other.den }
    }
}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.num) * i128::from(other.den.get());
        let right = i128::from(other.num) * i128::from(self.den.get());
        left.cmp(&right)
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (num, den) = (self.num, self.den.get());
        if den == 1 {
            return write!(f, "{num}s");
        }
        if 1_000 % den == 0 {
            let millis = (i128::from(num) * 1_000 / i128::from(den)).unsigned_abs();
            let sign = if num < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:03}", millis / 1_000, millis % 1_000);
            return write!(f, "{}s", text.trim_end_matches('0'));
        }
        write!(f, "{num}/{den}s")
    }
}

impl FromStr for MediaTime {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || unit_error(text, "a time", Self::ALLOWED);
        let body = text.trim();
        let (negative, body) = body.strip_prefix('-').map_or((false, body), |rest| (true, rest));
        let time = if let Some((num, den)) = body.strip_suffix('s').and_then(|b| b.split_once('/')) {
            let num = num.parse().map_err(|_| error())?;
            Self::new(num, den.parse().map_err(|_| error())?).ok_or_else(error)?
        } else if let Some(millis) = body.strip_suffix("ms") {
            let (num, den) = parse_decimal(millis).ok_or_else(error)?;
            Self::from_i128(i128::from(num), u128::from(den) * 1_000)
        } else {
            let body = body.strip_suffix('s').unwrap_or(body);
            let mut total = Self::ZERO;
            let parts: Vec<&str> = body.split(':').collect();
            if parts.len() > 3 {
                return Err(error());
            }
            for part in &parts {
                let (num, den) = parse_decimal(part).ok_or_else(error)?;
                let sixty = i128::from(total.num) * 60;
                total = Self::from_i128(sixty, u128::from(total.den.get()))
                    + Self::from_i128(i128::from(num), u128::from(den));
            }
            total
        };
        Ok(if negative { Self::ZERO - time } else { time })
    }
}

serde_by_text!(MediaTime);

/// A picture size in pixels; neither side is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    width: NonZeroU32,
    height: NonZeroU32,
}

impl Resolution {
    /// `None` where a side is zero.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        Some(Self { width: NonZeroU32::new(width)?, height: NonZeroU32::new(height)? })
    }

    /// Columns.
    pub const fn width(self) -> u32 {
        self.width.get()
    }

    /// Rows.
    pub const fn height(self) -> u32 {
        self.height.get()
    }

    /// Pixels in a picture.
    pub fn pixels(self) -> u64 {
        u64::from(self.width.get()) * u64::from(self.height.get())
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Resolution {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || unit_error(text, "a picture size", "write WIDTHxHEIGHT, such as 1920x1080");
        let (width, height) = text.split_once('x').ok_or_else(error)?;
        let width = width.parse().map_err(|_| error())?;
        Self::new(width, height.parse().map_err(|_| error())?).ok_or_else(error)
    }
}

serde_by_text!(Resolution);

/// The number of a segment on the timeline, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentIndex(pub u32);

impl fmt::Display for SegmentIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_rates_read_what_people_write() {
        for (text, bits) in
            [("8M", 8_000_000), ("800k", 800_000), ("2.5Mbit/s", 2_500_000), ("64000", 64_000)]
        {
            assert_eq!(text.parse::<Bitrate>().map(Bitrate::bits_per_second), Ok(bits), "{text}");
        }
        for text in ["", "0", "-1", "8X", "1.2.3M", "12", "2000000000"] {
            assert!(text.parse::<Bitrate>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_read_clocks_and_stay_exact() {
        assert_eq!("1:30".parse::<MediaTime>(), "90s".parse());
        assert_eq!("0.1s".parse::<MediaTime>(), "100ms".parse());
        assert!("1:2:3:4".parse::<MediaTime>().is_err());
        let third = MediaTime::new(1, 3).expect("a third of a second");
        assert_eq!(third + third + third, MediaTime::new(1, 1).expect("a second"));
        assert_eq!(third.to_string().parse::<MediaTime>(), Ok(third));
        assert_eq!("-1.5s".parse::<MediaTime>().map(|t| t.to_string()), Ok("-1.5s".to_owned()));
    }

    #[test]
    fn the_nearest_picture_of_a_rounded_time_is_itself() {
        let rate = FrameRate::new(30_000, 1_001).expect("29.97");
        for index in [0u64, 1, 179, 180, 215_784, 1_294_704] {
            let nanos = rate.time_of(index).nanos();
            assert_eq!(rate.nearest(MediaTime::from_nanos(nanos)), index as i64);
            assert_eq!(rate.nearest(MediaTime::from_nanos(nanos - 1)), index as i64);
        }
        assert_eq!(rate.ceil("6s".parse().expect("time")), 180);
    }
}
