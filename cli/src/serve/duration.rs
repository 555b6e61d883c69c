//! Times as people write them.

use std::time::Duration;

/// Parses a duration: a number with an optional fraction, and ms, s, m or h behind it; seconds without.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) =
        units.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit))).unwrap_or((text, 1.0));
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = number.parse::<f64>().ok().filter(|_| plain);
    let number = number.ok_or("not a time, such as 500ms, 30s or 5m")?;
    // Longer than a process runs, and short enough to be added to any moment.
    let longest = 86_400.0 * 365.0 * 10.0;
    Ok(Duration::from_secs_f64((number * unit).min(longest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        let parse = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(parse("500ms"), Ok(500));
        assert_eq!(parse("2"), Ok(2000));
        assert_eq!(parse("0.25s"), Ok(250));
        assert_eq!(parse("3m"), Ok(180_000));
        assert_eq!(parse("1h"), Ok(3_600_000));
        for bad in ["", "s", "-1s", "1d", "inf", "1e3", "nan", "."] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
