//! Going to a room by a few of its letters.

use crate::api::types::Room;
use crate::tui::field::Field;
use crate::tui::names::room_name;

/// A search under way.
#[derive(Debug, Clone, Default)]
pub struct Jump {
    /// What has been typed.
    pub field: Field,
    /// Which of the matches would be taken.
    pub picked: usize,
}

/// The rooms whose names contain the letters of `query` in that order, best first: letters that stand together or
/// begin a word count more. All rooms, as they stand, when nothing has been typed.
pub fn matches<'a>(rooms: &'a [Room], query: &str) -> Vec<&'a Room> {
    let mut scored: Vec<(i32, &Room)> =
        rooms.iter().filter_map(|room| Some((score(&room_name(room), query)?, room))).collect();
    scored.sort_by_key(|(score, _)| -score);
    scored.into_iter().map(|(_, room)| room).collect()
}

fn score(name: &str, query: &str) -> Option<i32> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let query: Vec<char> = query.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    if query.is_empty() {
        return Some(0);
    }
    let starts = (0..name.len()).filter(|start| name[*start] == query[0]);
    let best = starts.filter_map(|start| score_from(&name, &query, start)).max()?;
    // Of two equals, the shorter name has more of what was typed.
    Some(best * 64 - i32::try_from(name.len().min(63)).unwrap_or(63))
}

fn score_from(name: &[char], query: &[char], start: usize) -> Option<i32> {
    let mut total = 0;
    let mut at = start;
    let mut last = None;
    for wanted in query {
        at += name.get(at..)?.iter().position(|c| c == wanted)?;
        let begins_word = at == 0 || !name[at - 1].is_alphanumeric();
        let follows = last.is_some_and(|last| last + 1 == at);
        total += 1 + 3 * i32::from(begins_word) + 2 * i32::from(follows) + 2 * i32::from(at == 0);
        last = Some(at);
        at += 1;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixtures::room;

    fn found(query: &str) -> Vec<String> {
        let names = ["general", "zig-help", "rust", "design review", "gardening", "tea"];
        let rooms: Vec<Room> = names.iter().enumerate().map(|(i, name)| room(&i.to_string(), name, 0, 0)).collect();
        matches(&rooms, query).into_iter().map(room_name).collect()
    }

    #[test]
    fn letters_in_order_find_a_room() {
        assert_eq!(found("zh"), ["zig-help"]);
        assert_eq!(found("GEN"), ["general", "gardening"]);
        assert_eq!(found("dr")[0], "design review");
        assert_eq!(found("de r"), ["design review"]);
        assert_eq!(found("xyz"), [""; 0]);
        assert_eq!(found("").len(), 6);
        assert_eq!(found("")[0], "general");
    }
}
