//! Moving through the timeline of the room in front.

use crate::tui::areas::areas;
use crate::tui::effect::Page;
use crate::tui::open::Position;
use crate::tui::scene::Scene;
use crate::tui::scroll;
use crate::tui::state::{Mode, State};
use crate::tui::window::message_of;

impl State {
    /// Cells and rows of the timeline.
    pub(super) fn timeline_size(&self) -> (u16, usize) {
        let timeline = areas(self).timeline;
        (timeline.width, usize::from(timeline.height))
    }

    /// A screen up, but for the row that one reads last.
    pub(super) fn scroll_up(&mut self) {
        self.scroll(|scene, height| scroll::up(scene, height, height.saturating_sub(1).max(1)));
    }

    /// A screen down.
    pub(super) fn scroll_down(&mut self) {
        self.scroll(|scene, height| scroll::down(scene, height.saturating_sub(1).max(1)));
    }

    /// To the end of the timeline.
    pub(super) fn scroll_to_newest(&mut self) {
        let Some(room) = self.focus.clone() else { return };
        let Some(open) = self.here_mut() else { return };
        let is_here = open.window.holds_newest();
        open.position = Position::Newest;
        open.below = 0;
        open.window.follow();
        open.is_stuck = false;
        if !is_here {
            self.ask_page(&room, Page::Newest);
        }
    }

    /// Brings an item on screen.
    pub(super) fn reveal(&mut self, id: &str) {
        self.scroll(|scene, height| {
            let item = scene.open().window.index(id).map(|line| line + 1);
            item.map_or_else(|| scene.open().position.clone(), |item| scroll::reveal(scene, height, item))
        });
    }

    fn scroll(&mut self, to: impl FnOnce(&Scene<'_>, usize) -> Position) {
        let (cells, height) = self.timeline_size();
        let Some(scene) = Scene::of(self, cells) else { return };
        let position = to(&scene, height);
        if let Some(open) = self.here_mut() {
            open.is_stuck = false;
            if position == Position::Newest {
                open.below = 0;
                open.window.follow();
            }
            open.position = position;
        }
    }

    /// Asks for older or newer pages when what is held ends near the edge of the screen.
    pub(super) fn page(&mut self) {
        let (cells, height) = self.timeline_size();
        let Some(scene) = Scene::of(self, cells) else { return };
        let open = scene.open();
        if open.asked.is_some() || open.is_stuck {
            return;
        }
        let lines = open.window.lines();
        let seen = scroll::seen(&scene, height);
        let page = if !open.window.is_loaded() {
            Some(Page::Newest)
        } else if seen.first <= NEAR_LINES && !open.window.holds_start() {
            lines.iter().find_map(message_of).map(|message| Page::Before(message.id.clone()))
        } else if seen.last + NEAR_LINES >= lines.len() && !open.window.holds_newest() {
            lines.iter().rev().find_map(message_of).map(|message| Page::After(message.id.clone()))
        } else {
            None
        };
        if let (Some(page), Some(room)) = (page, self.focus.clone()) {
            self.ask_page(&room, page);
        }
    }

    /// Whether the newest message of this room is being looked at right now.
    pub(super) fn is_watching(&self, room: &str) -> bool {
        let is_shown = !matches!(self.mode, Mode::Plain | Mode::Naming(_));
        let is_here = self.focus.as_deref() == Some(room) && self.is_watched && is_shown;
        is_here
            && self.open.get(room).is_some_and(|open| open.position == Position::Newest && open.window.holds_newest())
    }
}

/// So close to the end of what is held, in lines, the next page is asked for.
const NEAR_LINES: usize = 10;
