//! The figures as they come, each beside what was promised.

use crate::data::Data;

/// Prints figures, and counts those that miss what they should be.
pub struct Report {
    figures: u32,
    missed: Vec<String>,
}

impl Report {
    /// Says what is measured, and where.
    pub fn begin(data: &Data) -> Self {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split_whitespace().next().unwrap_or("?").to_owned();
        println!("tidings {} on {cpus} processors, load {load}", env!("CARGO_PKG_VERSION"));
        println!(
            "{}: {} messages, {} bytes of author and text",
            data.file.display(),
            data.records.len(),
            data.text_len
        );
        Report { figures: 0, missed: Vec::new() }
    }

    /// The heading of a part.
    pub fn part(&self, name: &str) {
        println!("\n== {name}");
    }

    /// Something to know, with nothing promised.
    pub fn note(&self, text: &str) {
        println!("         {text}");
    }

    /// A figure, what was promised, and whether it holds.
    pub fn figure(&mut self, name: &str, value: &str, promised: &str, holds: bool) {
        self.figures += 1;
        let verdict = if holds { "  ok  " } else { "MISSED" };
        println!("{verdict}   {name}: {value}   (promised: {promised})");
        if !holds {
            self.missed.push(name.to_owned());
        }
    }

    /// The sum.
    pub fn end(self) {
        println!("\n{} figures, {} missed {}", self.figures, self.missed.len(), self.missed.join(", "));
    }
}
