//! Keeping a home whole: `verify` reads everything that is kept and tells what is damaged, `backup` copies it while the node
//! runs, `key_box` seals the keys, which are no part of that copy, `restore` makes a home of both, and `mend` opens a store
//! that is damaged.

mod backup;
mod key_box;
mod mend;
mod restore;
mod verify;

pub use backup::{BackupError, Manifest};
pub(crate) use backup::{FILES, STORE};
pub use key_box::{KeyBoxError, keep_keys, open_keys, write_beside};
pub use mend::MendError;
pub(crate) use mend::{OLD, finish, open};
pub use restore::{RestoreError, Restored, Restoring, Who};
pub use verify::{VerifyError, verify_copy, verify_home};
