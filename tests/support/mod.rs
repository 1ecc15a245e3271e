//! What tests share.

pub mod crash;
pub mod healing;
pub mod hostile;
pub mod nodes;
pub mod people;
pub mod random_room;
pub mod scene;
pub mod seeded;
pub mod store;
pub mod stranger;
pub mod walk;
