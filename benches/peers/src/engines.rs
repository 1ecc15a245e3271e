//! What else searches texts: SQLite with FTS5, and tantivy, each as its own documentation says, in this process.

use crate::Result;
use crate::data::Message;
use rusqlite::{Connection, params};
use std::path::Path;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TEXT, Value};
use tantivy::{Index, IndexReader, Order, TantivyDocument, Term};

/// Asked for the newest 50 by descending rowid, which is the order of time and what FTS5 walks fastest.
pub struct Fts5(Connection);

impl Fts5 {
    pub fn name() -> String {
        format!("SQLite {} FTS5", rusqlite::version())
    }

    pub fn build(messages: &[Message], folder: &Path) -> Result<Fts5> {
        std::fs::create_dir_all(folder)?;
        let mut connection = Connection::open(folder.join("fts5.sqlite"))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.execute_batch("CREATE VIRTUAL TABLE said USING fts5(author UNINDEXED, text, ts UNINDEXED);")?;
        for part in messages.chunks(BATCH) {
            let transaction = connection.transaction()?;
            let mut insert = transaction.prepare_cached("INSERT INTO said(author, text, ts) VALUES (?, ?, ?)")?;
            for m in part {
                insert.execute(params![m.author, m.text, i64::try_from(m.ts)?])?;
            }
            drop(insert);
            transaction.commit()?;
        }
        connection.execute_batch("INSERT INTO said(said) VALUES ('optimize'); PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(Fts5(connection))
    }

    /// The newest 50 messages in which both words occur; how many there were.
    pub fn find(&self, words: &[String; 2]) -> Result<usize> {
        let sql = "SELECT author, text, ts FROM said WHERE said MATCH ? ORDER BY rowid DESC LIMIT 50";
        let mut select = self.0.prepare_cached(sql)?;
        let query = format!("\"{}\" \"{}\"", words[0], words[1]);
        count(select.query([query])?)
    }

    /// The 50 messages before one.
    pub fn page(&self, before: usize) -> Result<usize> {
        let sql = "SELECT author, text, ts FROM said WHERE rowid < ? ORDER BY rowid DESC LIMIT 50";
        let mut select = self.0.prepare_cached(sql)?;
        count(select.query([i64::try_from(before)?])?)
    }
}

/// Reads all rows, as whoever shows them has to.
fn count(mut rows: rusqlite::Rows<'_>) -> Result<usize> {
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let (_, text, _): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        count += usize::from(!text.is_empty());
    }
    Ok(count)
}

/// Asked for the top 50 by time, a fast field, and for what the documents say.
pub struct Tantivy {
    reader: IndexReader,
    text: Field,
}

impl Tantivy {
    pub fn name() -> String {
        format!(
            "tantivy {}",
            tantivy::version_string().trim_start_matches("tantivy v").split(',').next().unwrap_or("?")
        )
    }

    pub fn build(messages: &[Message], folder: &Path) -> Result<Tantivy> {
        std::fs::create_dir_all(folder)?;
        let mut schema = Schema::builder();
        let author = schema.add_text_field("author", STRING | STORED);
        let text = schema.add_text_field("text", TEXT | STORED);
        let ts = schema.add_u64_field("ts", INDEXED | FAST | STORED);
        let index = Index::create_in_dir(folder, schema.build())?;
        let mut writer = index.writer(WRITER_LEN)?;
        for m in messages {
            let mut document = TantivyDocument::default();
            document.add_text(author, &m.author);
            document.add_text(text, &m.text);
            document.add_u64(ts, m.ts);
            writer.add_document(document)?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        Ok(Tantivy { reader: index.reader()?, text })
    }

    /// The newest 50 messages in which both words occur; how many there were.
    pub fn find(&self, words: &[String; 2]) -> Result<usize> {
        let searcher = self.reader.searcher();
        let term = |word: &String| -> Box<dyn Query> {
            Box::new(TermQuery::new(Term::from_field_text(self.text, word), IndexRecordOption::Basic))
        };
        let query = BooleanQuery::intersection(words.iter().map(term).collect());
        let newest = TopDocs::with_limit(50).order_by_fast_field::<u64>("ts", Order::Desc);
        let mut count = 0;
        for (_, address) in searcher.search(&query, &newest)? {
            let document: TantivyDocument = searcher.doc(address)?;
            let text = document.get_first(self.text).and_then(|value| value.as_str());
            count += usize::from(text.is_some_and(|text| !text.is_empty()));
        }
        Ok(count)
    }
}

/// Messages in one transaction.
const BATCH: usize = 10_000;
/// Tantivy's own example gives its writer as much.
const WRITER_LEN: usize = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_find_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let message = |n: u64| Message { author: "ann".to_owned(), text: format!("tide number{} comes", n % 3), ts: n };
        let messages: Vec<Message> = (1..=90).map(message).collect();
        let fts5 = Fts5::build(&messages, &folder.path().join("a")).unwrap();
        let tantivy = Tantivy::build(&messages, &folder.path().join("b")).unwrap();
        let words = ["tide".to_owned(), "number1".to_owned()];
        assert_eq!((fts5.find(&words).unwrap(), tantivy.find(&words).unwrap()), (30, 30));
        assert_eq!(fts5.page(61).unwrap(), 50);
    }
}
