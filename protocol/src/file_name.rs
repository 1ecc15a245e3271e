//! What a file is called on disk: made of what its sender calls it, so that it stays in its folder, on one line, and is a
//! name on every system. Two names may become one; whoever writes a file never overwrites another.

use crate::invisible::is_invisible;
use unicode_normalization::UnicodeNormalization;

/// A name that is safe to use in a folder: no separators, no control, invisible or reordering characters, not hidden, not
/// reserved, and at most `SAFE_NAME_LEN_MAX` bytes. Never empty. Making a safe name safe again changes nothing.
pub fn safe(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let kept: String = visible.nfc().map(|c| if is_apart(c) { '_' } else { c }).collect();
    // Cut first: what a cut leaves may begin otherwise, mean a device, or be nothing.
    let mut name = shortened(kept.trim_start().trim_end_matches(is_no_end));
    if name.starts_with(['.', '-', '~']) {
        // A hidden file, an option of a command, or somebody's home.
        name.replace_range(..1, "_");
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    if RESERVED.contains(&stem.as_str()) || is_port(&stem) {
        name = shortened(&format!("_{name}"));
    }
    if name.chars().all(|c| c == '_') { "file".to_owned() } else { name }
}

/// What some systems take from the end of a name.
fn is_no_end(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Cut to a length that leaves room for what is written beside; the ending stays.
fn shortened(name: &str) -> String {
    if name.len() <= SAFE_NAME_LEN_MAX {
        return name.to_owned();
    }
    let ending = name.rfind('.').map(|at| &name[at..]).filter(|ending| ending.len() <= ENDING_LEN_MAX).unwrap_or("");
    let stem = &name[..name.floor_char_boundary(SAFE_NAME_LEN_MAX - ending.len())];
    format!("{}{ending}", stem.trim_end_matches(is_no_end))
}

/// What stands between names, or means something to a shell or another system.
fn is_apart(c: char) -> bool {
    c.is_control()
        || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{29f9}' | '\u{ff0f}' | '\u{ff3c}')
}

/// COM1 to COM9 and LPT1 to LPT9.
fn is_port(stem: &str) -> bool {
    let number = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    number.is_some_and(|n| matches!(n, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"))
}

/// Names of devices, on systems that have them in every folder.
const RESERVED: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// Bytes of a safe name: file systems take 255, and `.part` is written beside.
pub const SAFE_NAME_LEN_MAX: usize = 200;
/// Bytes of an ending that is kept where a name is cut, its dot included.
const ENDING_LEN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_stay_in_their_folder() {
        for (hostile, safe_name) in [
            ("", "file"),
            (".", "file"),
            ("..", "file"),
            ("...", "file"),
            ("///", "file"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..\\..\\boot.ini", "_._.._boot.ini"),
            ("/etc/passwd", "_etc_passwd"),
            ("a\0b", "a_b"),
            ("x\u{1b}]52;c;cm0\u{7}", "x_]52;c;cm0_"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a\u{200b}b", "ab"),
            ("a\u{13430}b\u{1bca0}c\u{1d173}d", "abcd"),
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("~root", "_root"),
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("nul .tar.gz", "_nul .tar.gz"),
            ("Lpt1.doc", "_Lpt1.doc"),
            ("C:evil", "C_evil"),
            ("name. . .", "name"),
            ("  x  ", "x"),
            ("a\nb", "a_b"),
            ("a\u{ff0f}b", "a_b"),
        ] {
            assert_eq!(safe(hostile), safe_name, "{hostile:?}");
        }
    }

    #[test]
    fn honest_names_stay_as_they_are_and_long_ones_keep_their_ending() {
        for name in ["report.pdf", "Käse und Brot.txt", "写真.jpg", "a-b_c (1).tar.gz", "\u{1f600}.png"] {
            assert_eq!(safe(name), name);
        }
        let long = safe(&format!("{}.jpeg", "ä".repeat(300)));
        assert!(long.ends_with("ä.jpeg") && long.len() <= SAFE_NAME_LEN_MAX, "{long}");
        assert!(safe(&format!("x.{}", "y".repeat(300))).len() <= SAFE_NAME_LEN_MAX);
    }

    #[test]
    fn what_a_cut_leaves_is_a_safe_name_too() {
        let spaces = " ".repeat(250);
        assert_eq!(safe(&format!("CON{spaces}x")), "_CON");
        assert_eq!(safe(&format!("\u{c}{spaces}x")), "file");
        assert_eq!(safe(&format!("{}.x", ".".repeat(250))), "_x");
        let device = safe(&format!("nul.{}", "y".repeat(250)));
        assert!(device.starts_with("_nul.y") && device.len() == SAFE_NAME_LEN_MAX, "{device}");
        assert_eq!(safe(&device), device);
    }

    proptest! {
        #[test]
        fn a_long_one_is_a_name_too(parts in prop::collection::vec(("[a_C.-]{0,4}|CON|lpt1", "[ ._\u{e4}]", 0usize..220), 1..4)) {
            let parts = parts.iter().map(|(name, fill, count)| format!("{name}{}", fill.repeat(*count)));
            let made = safe(&parts.collect::<String>());
            prop_assert!(!made.is_empty() && made.len() <= SAFE_NAME_LEN_MAX);
            prop_assert_eq!(safe(&made), made);
        }

        #[test]
        fn whatever_it_was_it_is_a_name(name in "\\PC*|[./\\\\\\x00-\\x1f a-zA-Z\u{202e}\u{200b}\u{301}]{0,40}") {
            let made = safe(&name);
            prop_assert!(!made.is_empty() && made.len() <= SAFE_NAME_LEN_MAX);
            prop_assert!(!made.contains(['/', '\\', '\0']) && made != "." && made != "..");
            prop_assert!(!made.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(safe(&made), made);
        }
    }
}
