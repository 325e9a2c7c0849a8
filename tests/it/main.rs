//! The program against real parts.
