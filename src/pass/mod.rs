//! One pass.
pub mod group;
pub mod here;
pub mod member;
