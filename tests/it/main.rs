//! Tests of the parts together: one binary, so that it links once.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod api;
#[cfg(test)]
mod github;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod token;
