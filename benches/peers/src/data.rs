//! Real chat: a line of JSON a message, and the same again under other authors' names where it must be more.

use crate::Result;
use crate::stats::Choices;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;

/// A line of chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub author: String,
    pub text: String,
    /// Unix milliseconds.
    pub ts: u64,
}

/// Reads a gzipped file of JSON lines; what is no message is passed over.
pub fn read(file: &Path) -> Result<Vec<Message>> {
    let mut text = String::new();
    let opened =
        std::fs::File::open(file).map_err(|e| format!("{}: {e}: give chat with --data FILE", file.display()))?;
    flate2::read::GzDecoder::new(opened).read_to_string(&mut text)?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Talk that nobody said: where there is no log, it shows that everything runs, and no more.
pub fn made_up(count: usize) -> Vec<Message> {
    let mut choices = Choices(1);
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut message = |n: usize| {
        let text: Vec<&str> = (0..4 + choices.below(20)).map(|_| words[choices.below(words.len())]).collect();
        Message {
            author: format!("author{}", choices.below(200)),
            text: text.join(" "),
            ts: 1_500_000_000_000 + n as u64 * 60_000,
        }
    };
    (0..count).map(&mut message).collect()
}

fn parse(line: &str) -> Option<Message> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text_of = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
    Some(Message { author: text_of("author")?, text: text_of("text")?, ts: value.get("ts")?.as_u64()? })
}

/// The log so many times, each under other authors' names and in years before those of the last: what lies side by side is
/// not the same text, or it would be compressed as no real text is.
pub fn copies(messages: &[Message], copies: u64) -> Vec<Message> {
    let times = || messages.iter().map(|m| m.ts);
    let span = times().max().unwrap_or(0) - times().min().unwrap_or(0) + 1;
    let mut out = Vec::new();
    for before in (0..copies).rev() {
        out.extend(messages.iter().map(|m| {
            let author = if before == 0 { m.author.clone() } else { format!("{}~{before}", m.author) };
            Message { author, text: m.text.clone(), ts: m.ts.saturating_sub(span * before) }
        }));
    }
    out
}

/// Writes them as `tidings import` takes them.
pub fn write(messages: &[Message], file: &Path) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for m in messages {
        writeln!(out, "{}", json!({"ts": m.ts, "author": m.author, "text": m.text}))?;
    }
    Ok(out.flush()?)
}

/// Bytes of authors and texts.
pub fn text_len(messages: &[Message]) -> f64 {
    messages.iter().map(|m| m.author.len() + m.text.len()).sum::<usize>() as f64
}

/// Bytes of times, authors and texts in one stream of `zstd -3`: times as what has passed since the one before.
pub fn zstd_len(messages: &[Message]) -> Result<f64> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    let mut last = 0;
    for m in messages {
        writeln!(encoder, "{}\t{}\t{}", m.ts as i128 - i128::from(last), m.author, m.text)?;
        last = m.ts;
    }
    Ok(encoder.finish()?.len() as f64)
}

const WORDS: &str = "the tide comes in and goes out again while we sit here on the old wall and talk of ships that \
    left before anybody knew how far it was or what they would find when one of them came back";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(author: &str, ts: u64) -> Message {
        Message { author: author.to_owned(), text: "a\nb".to_owned(), ts }
    }

    #[test]
    fn copies_keep_the_order_of_time_and_differ_by_author() {
        let twice = copies(&[message("ann", 11), message("bob", 12)], 2);
        let names: Vec<&str> = twice.iter().map(|m| m.author.as_str()).collect();
        assert_eq!(names, ["ann~1", "bob~1", "ann", "bob"]);
        assert!(twice.is_sorted_by_key(|m| m.ts));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&[message("ann", 5)], file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.lines().filter_map(parse).collect::<Vec<_>>(), [message("ann", 5)]);
        assert_eq!(parse("{}"), None);
    }

    #[test]
    fn what_is_made_up_is_the_same_each_time() {
        assert_eq!(made_up(50), made_up(50));
        assert!(made_up(50).iter().all(|m| !m.text.is_empty()));
    }

    #[test]
    fn compressed_is_smaller() {
        let all = copies(&vec![message("ann", 5); 100], 2);
        assert!(zstd_len(&all).unwrap() < text_len(&all) / 4.0);
    }
}
