//! The figures: each of ours beside a peer's of the same run, printed as a table of ratios and as JSON.

use crate::stats::median;
use serde_json::{Value, json};

/// What was measured of ours and of one peer, a value for each round.
pub struct Figure {
    /// P1 to P9.
    pub part: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub ours: Vec<f64>,
    /// Beside what, and its values.
    pub peer: Option<(String, Vec<f64>)>,
    pub target: Target,
}

/// What should be reached: our value or the ratio, whichever is; nothing where both are missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target {
    pub bound: Bound,
    pub value: Option<f64>,
    pub ratio: Option<f64>,
}

/// On which side of the target the good lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bound {
    #[default]
    AtMost,
    AtLeast,
}

impl Target {
    /// Stated, with nothing promised.
    pub const STATED: Target = Target { bound: Bound::AtMost, value: None, ratio: None };

    pub fn at_most(value: f64) -> Target {
        Target { value: Some(value), ..Target::STATED }
    }

    pub fn at_least(value: f64) -> Target {
        Target { bound: Bound::AtLeast, value: Some(value), ratio: None }
    }

    pub fn ratio_at_most(ratio: f64) -> Target {
        Target { ratio: Some(ratio), ..Target::STATED }
    }

    pub fn ratio_at_least(ratio: f64) -> Target {
        Target { bound: Bound::AtLeast, value: None, ratio: Some(ratio) }
    }

    pub fn or_ratio(self, ratio: f64) -> Target {
        Target { ratio: Some(ratio), ..self }
    }

    fn reached(&self, value: f64, ratio: f64) -> Option<bool> {
        let holds = |is: f64, limit: Option<f64>| {
            limit.map(|limit| if self.bound == Bound::AtMost { is <= limit } else { is >= limit })
        };
        match (holds(value, self.value), holds(ratio, self.ratio)) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(false) || b.unwrap_or(false)),
        }
    }

    fn text(&self, unit: &str) -> String {
        let sign = if self.bound == Bound::AtMost { "<=" } else { ">=" };
        let value = self.value.map(|v| format!("{sign} {} {unit}", short(v)));
        let ratio = self.ratio.map(|r| format!("{sign} {}x", short(r)));
        [value, ratio].into_iter().flatten().collect::<Vec<_>>().join(" or ")
    }
}

impl Figure {
    pub fn alone(part: &'static str, what: &str, unit: &'static str, ours: Vec<f64>, target: Target) -> Figure {
        Figure { part, what: what.to_owned(), unit, ours, peer: None, target }
    }

    pub fn beside(mut self, peer: &str, theirs: Vec<f64>) -> Figure {
        self.peer = Some((peer.to_owned(), theirs));
        self
    }

    fn ratio(&self) -> f64 {
        self.peer.as_ref().map_or(f64::NAN, |(_, theirs)| median(&self.ours) / median(theirs))
    }

    fn verdict(&self) -> &'static str {
        match self.target.reached(median(&self.ours), self.ratio()) {
            None => "",
            Some(true) => "reached",
            Some(false) => "MISSED",
        }
    }

    fn row(&self) -> String {
        let (peer, ratio) = match &self.peer {
            Some((name, theirs)) => (format!("{name}: {}", short(median(theirs))), short(self.ratio())),
            None => Default::default(),
        };
        let ours = format!("{} {}", short(median(&self.ours)), self.unit);
        let target = self.target.text(self.unit);
        format!("| {} | {} | {ours} | {peer} | {ratio} | {target} | {} |", self.part, self.what, self.verdict())
    }
}

/// Prints all, by part.
pub fn print(figures: &[Figure], notes: &[String]) {
    println!("\n| | what | tidings | peer | ratio | target | |");
    println!("|---|---|---|---|---|---|---|");
    let mut sorted: Vec<&Figure> = figures.iter().collect();
    sorted.sort_by_key(|f| f.part);
    sorted.iter().for_each(|f| println!("{}", f.row()));
    if !notes.is_empty() {
        println!();
    }
    notes.iter().for_each(|line| println!("{line}"));
    let missed = figures.iter().filter(|f| f.verdict() == "MISSED").count();
    println!("\n{} figures, {missed} missed", figures.len());
}

/// The same for programs, every round's values with it.
pub fn json(figures: &[Figure], header: &Value, notes: &[String]) -> Value {
    let of = |f: &Figure| {
        let (peer, theirs) = f.peer.clone().unzip();
        json!({"part": f.part, "what": f.what, "unit": f.unit, "ours": f.ours, "peer": peer, "theirs": theirs,
               "median": median(&f.ours), "ratio": f.peer.as_ref().map(|_| f.ratio()),
               "target": f.target.text(f.unit), "verdict": f.verdict().to_lowercase()})
    };
    json!({"run": header, "figures": figures.iter().map(of).collect::<Vec<_>>(), "notes": notes})
}

fn short(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "none".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_reached_by_value_or_by_ratio() {
        let either = Target::at_least(100.0).or_ratio(0.5);
        assert_eq!(either.reached(50.0, 0.6), Some(true));
        assert_eq!(either.reached(100.0, 0.1), Some(true));
        assert_eq!(either.reached(99.0, 0.4), Some(false));
        assert_eq!(either.text("/s"), ">= 100 /s or >= 0.50x");
        assert_eq!(Target::STATED.reached(1.0, 1.0), None);
    }

    #[test]
    fn what_was_not_measured_reaches_nothing() {
        assert_eq!(Target::at_most(3.0).reached(f64::NAN, f64::NAN), Some(false));
        assert_eq!(Target::ratio_at_least(3.0).reached(9.0, f64::NAN), Some(false));
    }

    #[test]
    fn a_row_says_what_beside_what() {
        let target = Target::ratio_at_most(0.5);
        let figure = Figure::alone("P2", "cost", "us", vec![10.0, 20.0, 30.0], target).beside("relay", vec![80.0]);
        assert_eq!(figure.row(), "| P2 | cost | 20.0 us | relay: 80.0 | 0.25 | <= 0.50x | reached |");
        let alone = Figure::alone("P8", "start", "ms", vec![], Target::STATED);
        assert_eq!(alone.row(), "| P8 | start | none ms |  |  |  |  |");
    }

    #[test]
    fn json_has_every_round() {
        let figure = Figure::alone("P8", "start", "ms", vec![3.0, 1.0], Target::at_most(2.0)).beside("it", vec![2.0]);
        let out = json(&[figure], &json!({}), &[]);
        assert_eq!(out["figures"][0]["ours"], json!([3.0, 1.0]));
        assert_eq!(out["figures"][0]["theirs"], json!([2.0]));
        assert_eq!(out["figures"][0]["peer"], "it");
    }
}
