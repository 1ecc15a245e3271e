//! How much of a room this node keeps.

use super::Context;
use super::exit::Failure;
use super::output::time;
use crate::api::client::segment;
use crate::api::keep::{Keep, Kept};
use std::process::ExitCode;

pub(super) async fn keep(context: &Context, room: &str, wish: Keep) -> Result<ExitCode, Failure> {
    let done: Kept = context.client()?.post(&format!("/v1/rooms/{}/keep", segment(room)), &wish).await?;
    context.out.show(&done, |done| format!("{room}{}", kept(done).replace('\n', "\n  ")));
    Ok(ExitCode::SUCCESS)
}

/// What is kept of a room, in lines that follow others.
pub(super) fn kept(kept: &Kept) -> String {
    let mut bounds: Vec<String> = Vec::new();
    bounds.extend(kept.max_bytes.map(|bytes| format!("at most {} of it are kept here", size(bytes))));
    bounds.extend(kept.max_days.map(|days| format!("nothing older than {days} days is kept here")));
    bounds.extend(kept.forever.then(|| "all of it is kept here".to_owned()));
    bounds.extend(kept.since_ms.map(|ms| format!("older than {} was trimmed here", time(ms))));
    let bounds: String = bounds.iter().map(|bound| format!("\n        {bound}")).collect();
    format!("\nsize    {}{bounds}", size(kept.bytes))
}

/// A number of bytes as people write it.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// `500000`, `200kB`, `20MB`, `1GB`.
pub(super) fn bytes(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::usage(format!("\"{text}\" is no number of bytes: write 500000, 20MB or 1GB"));
    let plain = text.trim().to_ascii_lowercase();
    let digits = plain.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match plain.get(digits.len()..) {
        Some("" | "b") => 1,
        Some("k" | "kb") => 1000,
        Some("m" | "mb") => 1_000_000,
        Some("g" | "gb") => 1_000_000_000,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, wanted) in [("500000", 500_000), ("20MB", 20_000_000), ("1g", 1_000_000_000), ("3 kB", 3000)] {
            assert_eq!(bytes(&text.replace(' ', "")).ok(), Some(wanted), "{text}");
        }
        for text in ["", "MB", "-1", "1.5GB", "1TBX", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!((size(999), size(20_000), size(123_456_789)), ("999 bytes".into(), "20 kB".into(), "123 MB".into()));
    }
}
