//! The figures: each a ratio of ours to a peer's in the same run, printed as a table and as JSON.

use serde_json::{Value, json};

/// What was measured of ours and of one peer, a value for each round.
pub struct Figure {
    /// P1 to P9.
    pub part: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub peer: String,
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
    /// What the ratio of ours to theirs should be, in words; empty where nothing is promised.
    pub promised: &'static str,
    /// Whether a median ratio is as promised.
    pub holds: fn(f64) -> bool,
}

impl Figure {
    fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.theirs)
    }
}

/// The figure in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints all; what missed its promise.
pub fn print(figures: &[Figure], skipped: &[String]) {
    println!("\n| | what | tidings | peer | ratio | promised | |");
    println!("|---|---|---|---|---|---|---|");
    for f in figures {
        let (ours, theirs) = (median(&f.ours), median(&f.theirs));
        let verdict = match f.promised {
            "" => "",
            _ if (f.holds)(f.ratio()) => "ok",
            _ => "MISSED",
        };
        println!(
            "| {} | {} | {} {} | {}: {} | {:.2} | {} | {verdict} |",
            f.part,
            f.what,
            short(ours),
            f.unit,
            f.peer,
            short(theirs),
            f.ratio(),
            f.promised
        );
    }
    skipped.iter().for_each(|line| println!("skipped: {line}"));
}

/// The same for programs.
pub fn json(figures: &[Figure], header: &Value) -> Value {
    let of = |f: &Figure| {
        json!({"part": f.part, "what": f.what, "unit": f.unit, "peer": f.peer, "ours": f.ours, "theirs": f.theirs,
               "ratio": f.ratio(), "promised": f.promised})
    };
    json!({"run": header, "figures": figures.iter().map(of).collect::<Vec<_>>()})
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
