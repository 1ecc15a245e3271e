//! Which pieces of a file are here, asked for, or missing, and who asks for which next.

use std::time::{Duration, Instant};
use tidings_protocol::file::{piece_count, piece_len};
use tidings_protocol::limits::FILE_RUN_MAX;

/// The pieces of one file.
pub(super) struct Board {
    len: u64,
    pieces: Vec<Piece>,
    have: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Missing,
    /// Since when.
    Asked(Instant),
    Here,
}

impl Board {
    /// A file of which nothing is here.
    pub(super) fn new(len: u64) -> Self {
        Board { len, pieces: vec![Piece::Missing; piece_count(len) as usize], have: 0 }
    }

    /// Bytes here.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Whether all is here.
    pub(super) fn is_whole(&self) -> bool {
        self.pieces.iter().all(|piece| *piece == Piece::Here)
    }

    /// A piece is here; whether that is new.
    pub(super) fn got(&mut self, index: u32) -> bool {
        match self.pieces.get_mut(index as usize) {
            Some(piece) if *piece != Piece::Here => {
                *piece = Piece::Here;
                self.have = self.have.saturating_add(piece_len(self.len, index) as u64);
                true
            }
            _ => false,
        }
    }

    /// Pieces to ask for next, one after another: those that nobody was asked for, else those for which somebody was asked
    /// too long ago. A peer that drips holds nobody up.
    pub(super) fn take(&mut self, now: Instant) -> Option<(u32, u32)> {
        let is_late = |piece: &Piece| matches!(piece, Piece::Asked(at) if now.duration_since(*at) > LATE_AFTER);
        let missing = self.pieces.iter().position(|piece| *piece == Piece::Missing);
        let (first, max) = match missing {
            Some(first) => (first, FILE_RUN_MAX as usize),
            None => (self.pieces.iter().position(is_late)?, 1),
        };
        let run = self.pieces.get_mut(first..)?.iter_mut().take(max);
        let mut count = 0;
        for piece in run.take_while(|piece| **piece == Piece::Missing || (max == 1)) {
            *piece = Piece::Asked(now);
            count += 1;
        }
        Some((u32::try_from(first).ok()?, count))
    }

    /// Whoever was asked for these at that time does not give them.
    pub(super) fn give_back(&mut self, first: u32, count: u32, asked: Instant) {
        for piece in self.pieces.iter_mut().skip(first as usize).take(count as usize) {
            if *piece == Piece::Asked(asked) {
                *piece = Piece::Missing;
            }
        }
    }
}

/// A piece is asked for elsewhere, too, after this.
const LATE_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_protocol::limits::FILE_PIECE_LEN;

    #[test]
    fn each_piece_is_asked_for_once_unless_it_is_late() {
        let len = 20 * FILE_PIECE_LEN as u64 + 3;
        let (mut board, now) = (Board::new(len), Instant::now());
        assert!(board.got(2) && !board.got(2));
        assert_eq!(board.take(now), Some((0, 2)));
        assert_eq!(board.take(now), Some((3, 16)));
        assert_eq!((board.take(now), board.take(now)), (Some((19, 2)), None));
        board.give_back(3, 16, now);
        assert_eq!(board.take(now), Some((3, 16)));
        let later = now + LATE_AFTER * 2;
        assert_eq!((board.take(later), board.take(later)), (Some((0, 1)), Some((1, 1))), "one by one");
        board.give_back(0, 2, now);
        assert_ne!(board.take(later), Some((0, 2)), "it was asked for elsewhere meanwhile");
        for index in 0..21 {
            board.got(index);
        }
        assert!(board.is_whole() && board.have() == len && board.take(later).is_none());
    }

    #[test]
    fn an_empty_file_has_a_piece() {
        let mut board = Board::new(0);
        assert!(!board.is_whole() && board.take(Instant::now()) == Some((0, 1)) && board.got(0));
        assert!(board.is_whole());
    }
}
