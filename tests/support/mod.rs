//! What tests share.

pub mod nodes;
