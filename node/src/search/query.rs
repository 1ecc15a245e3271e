//! The language of queries: words that must all occur, `"words one behind the other"`, `begin*`, `in:` a room, `from:`
//! somebody, `before:` and `after:` a day. Whatever is typed is a query or gets a sentence that says what to write.

use super::pattern::Pattern;
use thiserror::Error;

/// A query, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What must occur.
    pub pattern: Pattern,
    /// Rooms, any of which; none for all.
    pub rooms: Vec<String>,
    /// People, any of whom; none for all.
    pub people: Vec<String>,
    /// The first moment, Unix milliseconds.
    pub from_ms: u64,
    /// The moment before which.
    pub until_ms: u64,
}

/// Why a query is none. Each says what to write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Nothing was written.
    #[error("there is nothing to look for: write one or more words, like release notes, or \"release notes\"")]
    Empty,
    /// Nothing of it is a word.
    #[error("there is no word to look for: write letters or digits; signs and emoji are not searched")]
    NoWord,
    /// A beginning of one letter.
    #[error("write at least two letters before a *: fewer begin too many words")]
    ShortBeginning,
    /// Too long.
    #[error("a query has at most {QUERY_LEN_MAX} bytes, this has {0}: write the few words that matter")]
    TooLong(usize),
    /// Too many words.
    #[error("a query has at most {WORDS_MAX} words, this has more: write the few that matter")]
    TooManyWords,
    /// Nothing behind an operator.
    #[error("{0} needs something right behind it: {0}{1}")]
    NothingBehind(&'static str, &'static str),
    /// Too many of an operator.
    #[error("{0} can be written at most {OPERATORS_MAX} times")]
    TooMany(&'static str),
    /// No day.
    #[error("\"{0}\" is no day: write 2026, 2026-11, 2026-11-22, today, yesterday, or how long ago: 12h, 7d, 4w")]
    NoDay(String),
}

impl Query {
    /// Reads a query. While it is being typed its last word may go on.
    ///
    /// # Errors
    /// `QueryError`.
    pub fn read(text: &str, is_typed: bool, now_ms: u64) -> Result<Query, QueryError> {
        if text.len() > QUERY_LEN_MAX {
            return Err(QueryError::TooLong(text.len()));
        }
        let mut query = Query::everything();
        let (mut words, mut rest, mut goes_on) = (0, text, false);
        while let Some(piece) = Piece::next(&mut rest) {
            goes_on = rest.is_empty() && !piece.is_quoted && piece.operator.is_none();
            match piece.operator {
                Some(operator) => query.narrow(operator, piece.text, now_ms)?,
                None => words += query.pattern.add(piece.text, piece.is_open),
            }
            if words > WORDS_MAX {
                return Err(QueryError::TooManyWords);
            }
        }
        if query.pattern.has_short_beginning() {
            return Err(QueryError::ShortBeginning);
        }
        if is_typed && goes_on {
            query.pattern.open_last();
        }
        Ok(query)
    }

    fn everything() -> Query {
        Query { pattern: Pattern::default(), rooms: Vec::new(), people: Vec::new(), from_ms: 0, until_ms: u64::MAX }
    }

    /// Adds what an operator says.
    ///
    /// # Errors
    /// `QueryError`.
    pub fn narrow(&mut self, operator: Operator, value: &str, now_ms: u64) -> Result<(), QueryError> {
        let (name, example) = operator.usage();
        let value = value.trim();
        if value.is_empty() {
            return Err(QueryError::NothingBehind(name, example));
        }
        let list = match operator {
            Operator::Before => {
                self.until_ms = self.until_ms.min(day_ms(value, now_ms)?);
                return Ok(());
            }
            Operator::After => {
                self.from_ms = self.from_ms.max(day_ms(value, now_ms)?);
                return Ok(());
            }
            Operator::In => &mut self.rooms,
            Operator::From => &mut self.people,
        };
        if list.len() >= OPERATORS_MAX {
            return Err(QueryError::TooMany(name));
        }
        list.push(value.to_owned());
        Ok(())
    }

    /// That it asks for something.
    ///
    /// # Errors
    /// `QueryError`.
    pub fn check_asks(&self, text: &str) -> Result<(), QueryError> {
        let is_narrow =
            !self.rooms.is_empty() || !self.people.is_empty() || self.from_ms > 0 || self.until_ms < u64::MAX;
        match (self.pattern.is_empty() && !is_narrow, text.trim().is_empty()) {
            (false, _) => Ok(()),
            (true, true) => Err(QueryError::Empty),
            (true, false) => Err(QueryError::NoWord),
        }
    }
}

/// What narrows a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `in:`
    In,
    /// `from:`
    From,
    /// `before:`
    Before,
    /// `after:`
    After,
}

impl Operator {
    const ALL: [Operator; 4] = [Operator::In, Operator::From, Operator::Before, Operator::After];

    fn usage(self) -> (&'static str, &'static str) {
        match self {
            Operator::In => ("in:", "ROOM"),
            Operator::From => ("from:", "NAME"),
            Operator::Before => ("before:", "2026-11-22"),
            Operator::After => ("after:", "2026-11-22"),
        }
    }
}

/// A piece of a query, between spaces or in quotes.
struct Piece<'a> {
    operator: Option<Operator>,
    text: &'a str,
    is_quoted: bool,
    is_open: bool,
}

impl<'a> Piece<'a> {
    /// The next piece, and what stands behind it. Quotes that are not closed end with the query.
    fn next(rest: &mut &'a str) -> Option<Piece<'a>> {
        let text = rest.trim_start_matches(is_space);
        if text.is_empty() {
            *rest = text;
            return None;
        }
        let begins = |operator: &&Operator| text.starts_with(operator.usage().0);
        let operator = Operator::ALL.iter().find(begins).copied();
        let text = operator.and_then(|operator| text.strip_prefix(operator.usage().0)).unwrap_or(text);
        if let Some(quoted) = text.strip_prefix(QUOTES) {
            let (inside, behind) = quoted.split_once(QUOTES).unwrap_or((quoted, ""));
            let open = behind.strip_prefix('*');
            *rest = open.unwrap_or(behind);
            return Some(Piece { operator, text: inside, is_quoted: true, is_open: open.is_some() });
        }
        let end = text.find(|c| is_space(c) || QUOTES.contains(&c)).unwrap_or(text.len());
        let (word, behind) = text.split_at(end);
        *rest = behind;
        let without = word.trim_end_matches('*');
        let text = if operator.is_some() { word } else { without };
        Some(Piece { operator, text, is_quoted: false, is_open: without.len() < word.len() })
    }
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// When a day, a month or a year begins, in UTC; or so long ago.
fn day_ms(text: &str, now_ms: u64) -> Result<u64, QueryError> {
    let none = || QueryError::NoDay(text.chars().take(40).collect());
    let today = now_ms - now_ms % DAY_MS;
    match text {
        "today" => return Ok(today),
        "yesterday" => return Ok(today.saturating_sub(DAY_MS)),
        _ => {}
    }
    let units = [('h', HOUR_MS), ('d', DAY_MS), ('w', 7 * DAY_MS)];
    if let Some((count, unit)) = units.iter().find_map(|(name, ms)| Some((text.strip_suffix(*name)?, *ms))) {
        let digits = Some(count).filter(|count| count.bytes().all(|b| b.is_ascii_digit()));
        let count: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(none)?;
        return Ok(now_ms.saturating_sub(count.saturating_mul(unit)));
    }
    let mut parts = text.split('-');
    let mut part = |len: usize, least: u64, most: u64| match parts.next() {
        None => Ok(least),
        Some(digits) if digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(none)
        }
        Some(_) => Err(none()),
    };
    let (year, month, day) = (part(4, 1970, 9999)?, part(2, 1, 12)?, part(2, 1, 31)?);
    if parts.next().is_some() || day > days_in(year, month) {
        return Err(none());
    }
    Ok(days_before(year, month).saturating_add(day - 1).saturating_mul(DAY_MS))
}

/// Days from 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let before = year - 1;
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(before) - leaps(1969);
    years + (1..month).map(|month| days_in(year, month)).sum::<u64>()
}

fn days_in(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const QUOTES: [char; 4] = ['"', '“', '”', '„'];
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Bytes of a query: more than anybody types, less than would cost anything to read.
pub const QUERY_LEN_MAX: usize = 1024;
/// Words of a query, and characters of scripts without spaces: each is looked for.
const WORDS_MAX: usize = 32;
/// Rooms and people of a query.
const OPERATORS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidings_storage::search::Term;

    const NOW_MS: u64 = 1_795_390_200_000;

    fn read(text: &str) -> Result<Query, QueryError> {
        let query = Query::read(text, false, NOW_MS)?;
        query.check_asks(text).map(|()| query)
    }

    fn terms(text: &str) -> Vec<String> {
        let show = |term| match term {
            Term::Whole(word) => word,
            Term::Beginning(word) => word + "*",
        };
        read(text).unwrap().pattern.terms().0.into_iter().map(show).collect()
    }

    #[test]
    fn words_quotes_and_beginnings_are_read() {
        assert_eq!(terms("Hello  wor* \"Big Deal\""), ["hello", "wor*", "big", "deal"]);
        assert_eq!(terms("“not closed"), ["not", "closed"]);
        assert_eq!(terms("\"half a wo\"*"), ["half", "a", "wo*"]);
        assert_eq!(terms("same same"), ["same"]);
        assert_eq!(terms("std.mem.copy http://x"), ["std", "mem", "copy", "http", "x"]);
        assert_eq!(terms("hello !!! \0"), ["hello"]);
    }

    #[test]
    fn the_last_word_may_go_on_while_it_is_typed() {
        let typed = |text| Query::read(text, true, NOW_MS).unwrap().pattern.terms().0;
        assert_eq!(typed("one tw"), [Term::Whole("one".into()), Term::Beginning("tw".into())]);
        assert_eq!(typed("one tw "), [Term::Whole("one".into()), Term::Whole("tw".into())]);
        assert_eq!(typed("one t"), [Term::Whole("one".into()), Term::Whole("t".into())]);
        assert_eq!(typed("one in:z"), [Term::Whole("one".into())]);
    }

    #[test]
    fn operators_narrow() {
        let query = read("in:zig in:\"my room\" from:Ana after:2020-02-29 before:2020-03 crash").unwrap();
        assert_eq!((query.rooms, query.people), (vec!["zig".into(), "my room".into()], vec!["Ana".into()]));
        assert_eq!((query.from_ms, query.until_ms), (1_582_934_400_000, 1_583_020_800_000));
        assert_eq!(read("from:Ana").unwrap().pattern.terms().0, []);
        assert_eq!(read("inn:x").unwrap().rooms, [""; 0]);
    }

    #[test]
    fn days_are_read_and_others_refused() {
        for (text, ms) in [
            ("1970", 0),
            ("2000-03", 951_868_800_000),
            ("2026-11-22", 1_795_305_600_000),
            ("today", 1_795_305_600_000),
            ("yesterday", 1_795_219_200_000),
            ("24h", NOW_MS - DAY_MS),
            ("2w", NOW_MS - 14 * DAY_MS),
            ("99999999999999999w", 0),
        ] {
            assert_eq!(day_ms(text, NOW_MS), Ok(ms), "{text}");
        }
        for text in
            ["", "20", "2020-13", "2019-02-29", "2020-1-1", "2020-01-01-01", "tomorrow", "-7d", "d", "+1d", "1969"]
        {
            assert!(matches!(day_ms(text, NOW_MS), Err(QueryError::NoDay(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_query_says_what_to_write() {
        for (text, error) in [
            ("", QueryError::Empty),
            (" \n ", QueryError::Empty),
            ("*", QueryError::NoWord),
            ("\"\"", QueryError::NoWord),
            ("🎉 !!", QueryError::NoWord),
            ("\0\0", QueryError::NoWord),
            ("a*", QueryError::ShortBeginning),
            ("in:", QueryError::NothingBehind("in:", "ROOM")),
            ("x before:soon", QueryError::NoDay("soon".into())),
            (&"x ".repeat(2000), QueryError::TooLong(4000)),
            (&"abc ".split(' ').chain((0..40).map(|_| "x")).collect::<Vec<_>>().join(" "), QueryError::TooManyWords),
            (&"in:x ".repeat(17), QueryError::TooMany("in:")),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_a_query_or_is_told_why(text in any::<String>(), typed in any::<bool>()) {
            drop(Query::read(&text, typed, NOW_MS));
        }

        #[test]
        fn operators_anywhere_are_read(text in "([a-c \"*:“]|in:|from:|before:|after:|20){0,30}") {
            drop(Query::read(&text, true, NOW_MS));
        }
    }
}
