//! What is fuzzed, as plain functions on bytes. Each must come to an end without a panic, whatever the bytes are, and
//! asserts what has to hold of them.

pub mod protocol;
