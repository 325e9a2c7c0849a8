//! One pass.
pub mod absorb;
pub mod bases;
pub mod group;
pub mod here;
pub mod install;
pub mod member;
pub mod visit;
