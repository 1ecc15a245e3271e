//! Colours. They come from the terminal's own sixteen, so that every palette stays readable, and vanish with `NO_COLOR`.

use ratatui::style::{Color, Modifier, Style};

/// Which styles to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's palette.
    Coloured,
    /// Only bold, dim and underline.
    Plain,
}

impl Theme {
    /// The colour of a person, the same on every screen and every day: it hangs on who they are, not on their name.
    pub fn name(self, identity: &str) -> Style {
        // FNV-1a: spreads short ids well; nothing but a colour depends on it.
        let hash = identity
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.colour(NAME_COLOURS[(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % NAME_COLOURS.len()])
            .add_modifier(Modifier::BOLD)
    }

    /// What stands back: times, separators, hints.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What has the focus.
    pub fn accent(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What is new.
    pub fn unread(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// What is missing or late.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// What went wrong.
    pub fn error(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What is well.
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// A link.
    pub fn link(self) -> Style {
        self.colour(Color::Blue).add_modifier(Modifier::UNDERLINED)
    }

    /// The local user's name in what others say.
    pub fn mention(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    fn colour(self, colour: Color) -> Style {
        match self {
            Self::Coloured => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }
}

/// Red and yellow mean trouble here, and stay out.
const NAME_COLOURS: [Color; 8] = [
    Color::Green,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::LightGreen,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn person_keeps_their_colour() {
        let theme = Theme::Coloured;
        assert_eq!(theme.name("did:key:z6Mk1"), theme.name("did:key:z6Mk1"));
        let used: std::collections::BTreeSet<String> =
            (0..64).map(|i| format!("{:?}", theme.name(&format!("did:key:z6Mk{i}")).fg)).collect();
        assert_eq!(used.len(), NAME_COLOURS.len());
    }

    #[test]
    fn plain_theme_has_no_colours() {
        let theme = Theme::Plain;
        for style in [
            theme.name("x"),
            theme.accent(),
            theme.unread(),
            theme.warning(),
            theme.error(),
            theme.good(),
            theme.link(),
        ] {
            assert_eq!(style.fg, None);
            assert_eq!(style.bg, None);
        }
    }
}
