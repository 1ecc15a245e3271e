//! Room authority, rules 1: who may do what, as a pure function of the room's control events. Order of arrival cannot
//! matter, because nothing here has any.
//!
//! `payload` is what control events say, `set` holds them and knows how they hang together, `decide` says which of them
//! count and `derive` what follows for the room: `state`. Both look only at what a new event can have changed.

pub mod cut;
pub mod decide;
mod derive;
mod held;
mod kept;
pub mod payload;
pub mod rank;
pub mod set;
pub mod state;
pub mod worth;

/// The rules that this version evaluates. A room under others is read-only here.
pub const RULES: u16 = 1;

/// Numbers of control kinds, for a header's `kind`.
pub mod kind {
    /// Begins a room.
    pub const GENESIS: u16 = 1;
    /// Gives a user a rank.
    pub const GRANT: u16 = 2;
    /// Opens an invitation for whoever holds its key.
    pub const OPEN_INVITE: u16 = 3;
    /// Takes an invitation up: grant and enrolment in one.
    pub const JOIN: u16 = 4;
    /// Begins the control log of a device under a grant of its user.
    pub const ENROL: u16 = 5;
    /// From here only the joins listed count.
    pub const CLOSE_INVITE: u16 = 6;
    /// Takes every weaker grant of a user away, but for what its cuts keep.
    pub const REVOKE: u16 = 7;
    /// A user's word that one of their devices speaks for them no longer.
    pub const REVOKE_DEVICE: u16 = 8;
    /// Ends one's own log.
    pub const LEAVE: u16 = 9;
    /// Sets a name, topic or other setting.
    pub const SET: u16 = 10;
    /// Hides one content event and deletes its payload.
    pub const ERASE: u16 = 11;
    /// The room goes on in another one.
    pub const SUCCESSOR: u16 = 12;

    /// Whether an event of this kind can end what somebody may do.
    pub fn ends_somebody(kind: u16) -> bool {
        matches!(kind, CLOSE_INVITE | REVOKE | REVOKE_DEVICE)
    }

    #[cfg(test)]
    mod tests {
        /// What is more would be told to devices that are out.
        #[test]
        fn what_is_told_to_who_is_out_is_what_ends_somebody_alone() {
            assert_eq!((0..=99).filter(|kind| super::ends_somebody(*kind)).collect::<Vec<_>>(), [6, 7, 8]);
        }
    }
}
