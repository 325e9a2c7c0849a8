//! One pass.
pub mod here;
