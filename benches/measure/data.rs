//! The real log: a line of JSON a message.

use crate::Result;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// One message.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Record {
    /// Unix milliseconds.
    pub ts: u64,
    /// Who.
    pub author: String,
    /// What.
    pub text: String,
}

/// All of it.
pub struct Data {
    /// Where it lies.
    pub file: PathBuf,
    /// In the file's order.
    pub records: Vec<Record>,
    /// Bytes of authors and texts.
    pub text_len: u64,
}

impl Data {
    /// Reads a gzipped file of JSON lines.
    pub fn read(file: &Path) -> Result<Data> {
        let lines = BufReader::new(MultiGzDecoder::new(File::open(file)?)).lines();
        let records = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<Vec<Record>>>()?;
        let text_len = records.iter().map(|r| (r.author.len() + r.text.len()) as u64).sum();
        Ok(Data { file: file.to_owned(), records, text_len })
    }
}
