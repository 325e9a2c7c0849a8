//! The program against real parts: a real sshd, a stand-in of gh, shells, a stub of GitHub's API. One binary, so that it links
//! once.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod api;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod e2e_asleep;
#[cfg(test)]
mod e2e_counts;
#[cfg(test)]
mod e2e_world;
#[cfg(test)]
mod far;
#[cfg(test)]
mod gh;
#[cfg(test)]
mod github;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod laws_archive;
#[cfg(test)]
mod laws_model;
#[cfg(test)]
mod laws_pass;
#[cfg(test)]
mod laws_plan;
#[cfg(test)]
mod laws_world;
#[cfg(test)]
mod remote_far;
#[cfg(test)]
mod remote_put;
#[cfg(test)]
mod remote_script;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod skip;
#[cfg(test)]
mod sshd;
#[cfg(test)]
mod token;
#[cfg(test)]
mod wait;
#[cfg(test)]
mod way;
#[cfg(test)]
mod wire_answers;
