//! `SafeText`: text from others, made safe for a terminal or any other line-oriented sink.
//!
//! The promise: what is displayed through it can neither move the cursor, nor talk to the terminal, nor reorder or hide
//! what stands next to it. What is taken out leaves a visible mark; emoji, combining marks and the joiners that
//! Persian and Indic scripts need stay as they are.

use std::fmt;

use tidings_protocol::invisible::is_invisible;
use tidings_protocol::lookalike::is_sign;
use unicode_width::UnicodeWidthChar;

/// Text from others, to be displayed.
///
/// ```
/// use tidings_node::text::SafeText;
/// assert_eq!(SafeText::line("\u{1b}[31mred\nnext").to_string(), "\u{fffd}[31mred next");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SafeText<'a> {
    text: &'a str,
    shape: Shape,
}

impl<'a> SafeText<'a> {
    /// One line: newlines and tabs become a space.
    pub fn line(text: &'a str) -> Self {
        Self { text, shape: Shape::Line }
    }

    /// Several lines: newlines stay, a tab becomes four spaces.
    pub fn block(text: &'a str) -> Self {
        Self { text, shape: Shape::Block }
    }
}

impl fmt::Display for SafeText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cluster = Cluster::default();
        let mut chars = self.text.chars().peekable();
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            match cluster.judge(c, next) {
                Verdict::Keep => fmt::Write::write_char(out, c)?,
                Verdict::KeepOnCircle => {
                    fmt::Write::write_char(out, DOTTED_CIRCLE)?;
                    fmt::Write::write_char(out, c)?;
                }
                Verdict::Break => out.write_str(if self.shape == Shape::Line { " " } else { "\n" })?,
                Verdict::Tab => out.write_str(if self.shape == Shape::Line { " " } else { "    " })?,
                Verdict::Mark => fmt::Write::write_char(out, char::REPLACEMENT_CHARACTER)?,
                Verdict::Drop => {}
            }
        }
        Ok(())
    }
}

/// What a person types or pastes, without the characters that `SafeText` would replace: what they see is what they
/// send. Newlines and tabs stay; a lone carriage return is a newline too, for that is how terminals paste one.
pub fn typed(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut cluster = Cluster::default();
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match cluster.judge(c, chars.peek().copied()) {
            Verdict::Keep | Verdict::KeepOnCircle | Verdict::Tab => kept.push(c),
            Verdict::Break => kept.push('\n'),
            Verdict::Mark | Verdict::Drop => {}
        }
    }
    kept
}

/// What somebody calls themselves, on one line: without the signs by which screens say that a key was compared, or warn.
pub fn name_of_others(name: &str) -> String {
    let kept: String = SafeText::line(name).to_string().chars().filter(|c| !is_sign(*c)).collect();
    // A sign may have had its style or its enclosing keycap behind it.
    SafeText::line(&kept).to_string().trim().to_owned()
}

/// Whether a name is shown as it is: on one line, with nothing replaced.
pub fn is_one_visible_line(name: &str) -> bool {
    !name.contains(['\n', '\t', '\r']) && typed(name) == name && !name.trim().is_empty()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    Block,
}

enum Verdict {
    Keep,
    /// A combining mark without a base: it gets one of its own, or it would sit on what stands before the text.
    KeepOnCircle,
    Break,
    Tab,
    Mark,
    Drop,
}

/// What has been kept since the last base character.
#[derive(Default)]
struct Cluster {
    last: Option<char>,
    marks: usize,
    joins: usize,
    /// The character before was replaced: a run of them shows one mark, so that it cannot flood a screen either.
    replaced: bool,
    emoji: bool,
}

impl Cluster {
    fn judge(&mut self, c: char, next: Option<char>) -> Verdict {
        match c {
            '\r' if next == Some('\n') => Verdict::Drop,
            '\n' | '\u{2028}' | '\u{2029}' => self.restart(Verdict::Break),
            '\t' => self.restart(Verdict::Tab),
            ZERO_WIDTH_JOINER if self.joins_emoji(next) => self.join(c),
            ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER if self.joins_letters(next) => self.join(c),
            TEXT_STYLE | EMOJI_STYLE if self.takes_style() => self.attach(c),
            c if hides(c) => self.replace(),
            c if is_mark(c) => self.mark(c),
            c => {
                let joined = self.last == Some(ZERO_WIDTH_JOINER) || is_skin_tone(c);
                *self = Self { last: Some(c), joins: if joined { self.joins } else { 0 }, ..Self::default() };
                self.emoji = is_pictograph(c);
                Verdict::Keep
            }
        }
    }

    fn joins_emoji(&self, next: Option<char>) -> bool {
        self.emoji && self.joins < JOINS_MAX && self.last != Some(ZERO_WIDTH_JOINER) && next.is_some_and(is_pictograph)
    }

    fn joins_letters(&self, next: Option<char>) -> bool {
        self.last.is_some_and(uses_joiners) && next.is_none_or(|c| uses_joiners(c) || matches!(c, ' ' | '\n' | '\t'))
    }

    fn takes_style(&self) -> bool {
        self.last.is_some_and(|c| is_pictograph(c) || matches!(c, '0'..='9' | '#' | '*'))
    }

    fn join(&mut self, c: char) -> Verdict {
        self.joins += 1;
        self.attach(c)
    }

    fn attach(&mut self, c: char) -> Verdict {
        self.last = Some(c);
        self.replaced = false;
        Verdict::Keep
    }

    fn mark(&mut self, c: char) -> Verdict {
        self.marks += 1;
        if self.marks > MARKS_PER_BASE_MAX {
            return Verdict::Drop;
        }
        let bare = self.last.is_none() && !self.replaced;
        self.last = Some(c);
        self.replaced = false;
        if bare { Verdict::KeepOnCircle } else { Verdict::Keep }
    }

    fn replace(&mut self) -> Verdict {
        let again = self.replaced;
        *self = Self { replaced: true, ..Self::default() };
        if again { Verdict::Drop } else { Verdict::Mark }
    }

    fn restart(&mut self, verdict: Verdict) -> Verdict {
        *self = Self::default();
        verdict
    }
}

/// Control characters, and whatever changes how its neighbours look without being seen.
fn hides(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// A combining mark: takes no room of its own. Conjoining Hangul vowels count too, which is right: they attach.
fn is_mark(c: char) -> bool {
    c.width() == Some(0)
}

/// What can stand in an emoji sequence: the blocks of Extended_Pictographic, and skin tones.
fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{24c2}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}'
        | '\u{25a0}'..='\u{27bf}'
        | '\u{2900}'..='\u{297f}'
        | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

fn is_skin_tone(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Scripts in which the joiners change the shape of letters (UAX 31, section 2.3): Arabic to N'Ko, the Indic blocks,
/// Myanmar, Khmer and Mongolian.
fn uses_joiners(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{18af}')
}

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';
const DOTTED_CIRCLE: char = '\u{25cc}';
/// Living languages stack two or three marks; the rest is meant to paint over neighbours.
const MARKS_PER_BASE_MAX: usize = 8;
/// The longest emoji in use joins four people: three joiners, and some to spare.
const JOINS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> String {
        SafeText::line(text).to_string()
    }

    #[test]
    fn hostile_text_is_disarmed() {
        let corpus = [
            ("escape", "a\u{1b}[2Jb", "a\u{fffd}[2Jb"),
            ("one-byte csi", "a\u{9b}31mb", "a\u{fffd}31mb"),
            ("c1 string terminator", "a\u{9d}0;title\u{9c}b", "a\u{fffd}0;title\u{fffd}b"),
            (
                "osc 8 link",
                "\u{1b}]8;;http://x\u{7}y\u{1b}]8;;\u{7}",
                "\u{fffd}]8;;http://x\u{fffd}y\u{fffd}]8;;\u{fffd}",
            ),
            ("osc 52 clipboard", "\u{1b}]52;c;cm0gLXJm\u{1b}\\", "\u{fffd}]52;c;cm0gLXJm\u{fffd}\\"),
            ("device control", "\u{1b}P$q\"p\u{1b}\\", "\u{fffd}P$q\"p\u{fffd}\\"),
            ("bell and backspace", "ok\u{7}\u{8}\u{8}no", "ok\u{fffd}no"),
            ("nul and delete", "a\0b\u{7f}c", "a\u{fffd}b\u{fffd}c"),
            ("lone carriage return", "safe\revil", "safe\u{fffd}evil"),
            ("next line", "a\u{85}b", "a\u{fffd}b"),
            ("right-to-left override", "user\u{202e}txt.exe", "user\u{fffd}txt.exe"),
            ("isolates", "\u{2066}x\u{2069}", "\u{fffd}x\u{fffd}"),
            ("marks of direction", "a\u{200e}\u{200f}\u{61c}b", "a\u{fffd}b"),
            ("zero width space", "ad\u{200b}min", "ad\u{fffd}min"),
            ("byte order mark", "\u{feff}alice", "\u{fffd}alice"),
            ("word joiner", "al\u{2060}ice", "al\u{fffd}ice"),
            ("soft hyphen", "al\u{ad}ice", "al\u{fffd}ice"),
            ("fillers", "\u{3164}\u{115f}\u{ffa0}", "\u{fffd}"),
            ("tags", "hi\u{e0068}\u{e0069}\u{e007f}", "hi\u{fffd}"),
            ("variation selector on a letter", "a\u{fe0f}b\u{e0100}", "a\u{fffd}b\u{fffd}"),
            ("joiner between letters", "ad\u{200d}min\u{200c}s", "ad\u{fffd}min\u{fffd}s"),
            ("joiner before nothing", "\u{1f469}\u{200d}", "\u{1f469}\u{fffd}"),
            ("noncharacters", "\u{fffe}x\u{1ffff}", "\u{fffd}x\u{fffd}"),
            ("musical and shorthand controls", "\u{1d173}x\u{1bca0}", "\u{fffd}x\u{fffd}"),
        ];
        for (what, hostile, shown) in corpus {
            assert_eq!(line(hostile), shown, "{what}");
        }
    }

    #[test]
    fn honest_text_stays_as_it_is() {
        let corpus = [
            ("plain", "plain text, with 'quotes' and <tags>"),
            ("latin", "Grüße aus Köln, déjà vu"),
            ("combining accents", "e\u{301}a\u{308}"),
            ("cjk", "你好,世界。こんにちは 안녕하세요"),
            ("decomposed hangul", "\u{1112}\u{1161}\u{11ab}"),
            ("hebrew and arabic", "שלום مرحبا"),
            ("persian non-joiner", "می\u{200c}خواهم"),
            ("malayalam joiner", "ന\u{d4d}\u{200d}"),
            ("woman technologist", "\u{1f469}\u{200d}\u{1f4bb}"),
            ("family", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}"),
            ("skin tones", "\u{1f469}\u{1f3fd}\u{200d}\u{1f680}"),
            ("heart with style", "\u{2764}\u{fe0f}"),
            ("heart on fire", "\u{2764}\u{fe0f}\u{200d}\u{1f525}"),
            ("judge", "\u{1f9d1}\u{200d}\u{2696}\u{fe0f}"),
            ("flags", "\u{1f1e9}\u{1f1ea}\u{1f1ef}\u{1f1f5}"),
            ("rainbow flag", "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}"),
            ("keycap", "1\u{fe0f}\u{20e3}"),
            ("box drawing", "├── src"),
        ];
        for (what, honest) in corpus {
            assert_eq!(line(honest), honest, "{what}");
            assert_eq!(typed(honest), honest, "{what}, typed");
        }
    }

    #[test]
    fn newlines_and_tabs_follow_the_shape() {
        assert_eq!(line("a\r\nb\tc\u{2028}d"), "a b c d");
        assert_eq!(SafeText::block("a\r\nb\tc\u{2028}d").to_string(), "a\nb    c\nd");
        assert_eq!(typed("a\r\nb\tc\u{1b}[0m\rd"), "a\nb\tc[0m\nd");
    }

    #[test]
    fn marks_are_bounded_for_each_base() {
        let zalgo = format!("z{}y{}", "\u{337}".repeat(50), "\u{301}".repeat(3));
        assert_eq!(line(&zalgo), format!("z{}y{}", "\u{337}".repeat(8), "\u{301}".repeat(3)));
    }

    #[test]
    fn mark_without_base_does_not_climb_on_what_stands_before() {
        assert_eq!(line("\u{301}x"), "\u{25cc}\u{301}x");
        assert_eq!(SafeText::block("a\n\u{301}").to_string(), "a\n\u{25cc}\u{301}");
    }

    #[test]
    fn joined_emoji_are_bounded() {
        for person in ["\u{1f469}\u{200d}", "\u{1f469}\u{1f3fd}\u{200d}", "\u{2764}\u{fe0f}\u{200d}"] {
            let shown = line(&(person.repeat(40) + "\u{1f469}"));
            for sequence in shown.split(char::REPLACEMENT_CHARACTER) {
                assert!(sequence.matches(ZERO_WIDTH_JOINER).count() <= JOINS_MAX, "{shown}");
            }
        }
    }

    #[test]
    fn run_of_replaced_characters_leaves_one_mark() {
        assert_eq!(line(&format!("a{}b", "\u{200b}".repeat(1000))), "a\u{fffd}b");
    }

    /// Characters that mean something to the rules stand among any others.
    fn text() -> impl Strategy<Value = String> {
        const TELLING: &[char] = &[
            '\r',
            '\n',
            '\t',
            '\u{1b}',
            '\u{9b}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{202e}',
            '\u{2067}',
            '\u{fe0f}',
            '\u{301}',
            '\u{1f469}',
            '\u{1f3fd}',
            '\u{2764}',
            'a',
            ' ',
            '1',
            'ی',
            'ന',
        ];
        let any_char = prop_oneof![3 => proptest::sample::select(TELLING), 1 => any::<char>()];
        proptest::collection::vec(any_char, 0..64).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out(text in text()) {
            for safe in [line(&text), SafeText::block(&text).to_string()] {
                prop_assert!(safe.chars().all(|c| c == '\n' || !c.is_control()));
                let reorders = safe.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
                prop_assert!(!reorders);
            }
            prop_assert!(!line(&text).contains('\n'));
        }

        #[test]
        fn safe_text_is_safe_again(text in text()) {
            let once = line(&text);
            prop_assert_eq!(line(&once), once);
        }
    }
}
