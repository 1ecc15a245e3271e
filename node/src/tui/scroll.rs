//! Where one stands in a timeline, counted in rows from the bottom of the screen: new lines, older pages and other
//! widths leave what one reads where it is.

use crate::api::types::Line;
use crate::tui::open::Position;
use crate::tui::scene::{Item, Scene};
use crate::tui::window::message_of;

/// What part of a scene is on screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The first item.
    pub first: usize,
    /// Rows of it above the screen.
    pub above: usize,
    /// The last item.
    pub last: usize,
    /// Rows of it below the screen.
    pub below: usize,
}

/// What is on a screen of so many rows.
pub fn seen(scene: &Scene<'_>, height: usize) -> Seen {
    let (last, below) = bottom(scene);
    let mut first = last;
    let mut rows = scene.rows(last).height() - below;
    while rows < height && first > 0 {
        first -= 1;
        rows += scene.rows(first).height();
    }
    Seen { first, above: rows.saturating_sub(height), last, below }
}

/// The position `rows` further up; the screen stays full where there is enough to fill it.
pub fn up(scene: &Scene<'_>, height: usize, rows: usize) -> Position {
    let (mut item, mut below) = bottom(scene);
    below += rows;
    while item > 0 && below >= scene.rows(item).height() {
        below -= scene.rows(item).height();
        item -= 1;
    }
    let highest = highest(scene, height);
    if item < highest.0 || item == highest.0 && below > highest.1 {
        (item, below) = highest;
    }
    position(scene, item, below)
}

/// The position `rows` further down.
pub fn down(scene: &Scene<'_>, rows: usize) -> Position {
    let (mut item, below) = bottom(scene);
    let mut left = rows;
    let mut hidden = below;
    loop {
        if left <= hidden {
            return position(scene, item, hidden - left);
        }
        left -= hidden;
        if item + 1 == scene.count() {
            return position(scene, item, 0);
        }
        item += 1;
        hidden = scene.rows(item).height();
    }
}

/// The nearest position in which all of an item is on screen, or as much as fits.
pub fn reveal(scene: &Scene<'_>, height: usize, item: usize) -> Position {
    let seen = seen(scene, height);
    let is_above = item < seen.first || item == seen.first && seen.above > 0;
    let is_below = item > seen.last || item == seen.last && seen.below > 0;
    if is_below {
        return position(scene, item, 0);
    }
    if !is_above {
        return scene.open().position.clone();
    }
    // The item's first row becomes the first on screen.
    let mut last = item;
    let mut rows = scene.rows(item).height();
    while rows < height && last + 1 < scene.count() {
        last += 1;
        rows += scene.rows(last).height();
    }
    position(scene, last, rows.saturating_sub(height))
}

/// The last item on screen, and its rows below the screen.
fn bottom(scene: &Scene<'_>) -> (usize, usize) {
    let end = scene.count() - 1;
    let Position::At { key, ms, hidden } = &scene.open().position else { return (end, 0) };
    let lines = scene.open().window.lines();
    let found = lines.iter().rposition(|line| line_key(line) == *key);
    // The line went away, a gap that was filled: stand where it stood in time.
    let found = found.or_else(|| lines.iter().rposition(|line| message_of(line).is_some_and(|held| held.ms <= *ms)));
    let item = found.map_or(0, |line| line + 1);
    (item, (*hidden).min(scene.rows(item).height().saturating_sub(1)))
}

/// The highest position at which the screen is still full.
fn highest(scene: &Scene<'_>, height: usize) -> (usize, usize) {
    let mut rows = 0;
    for item in 0..scene.count() {
        rows += scene.rows(item).height();
        if rows >= height {
            return (item, rows - height);
        }
    }
    (scene.count() - 1, 0)
}

fn position(scene: &Scene<'_>, item: usize, hidden: usize) -> Position {
    let is_end = item + 1 == scene.count() && hidden == 0;
    match scene.item(item) {
        Item::Line(line) if !(is_end && scene.open().window.holds_newest()) => {
            Position::At { key: line_key(line), ms: time(scene, item), hidden }
        }
        _ => Position::Newest,
    }
}

fn time(scene: &Scene<'_>, item: usize) -> u64 {
    scene.open().window.lines()[..item].iter().rev().find_map(message_of).map_or(0, |message| message.ms)
}

fn line_key(line: &Line) -> String {
    match line {
        Line::Message(message) => message.id.clone(),
        Line::Gap { gap } => format!("gap {} {}", gap.user, gap.from_seq),
    }
}
