//! The read module.

pub mod export;
