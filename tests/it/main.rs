//! What the program promises, tried on real parts: real shells, real files, real processes.

#[cfg(test)]
mod far;
#[cfg(test)]
mod remote_put;
#[cfg(test)]
mod remote_script;
#[cfg(test)]
mod wire_answers;
