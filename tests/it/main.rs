//! The program against real parts: a real sshd, a stand-in of gh, shells.

#[cfg(test)]
mod api;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod far;
#[cfg(test)]
mod gh;
#[cfg(test)]
mod skip;
#[cfg(test)]
mod sshd;
#[cfg(test)]
mod wait;
#[cfg(test)]
mod way;
