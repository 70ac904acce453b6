//! Tape through real SCSI devices: an emulated library and the simulated one, in a virtual machine.
//!
//! The same fault tests run twice: here, where the simulator answers directly, and in the machine, where its answers
//! come through the kernel ([`site`]).
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod faults;
mod full;
mod machine;
mod power;
mod qualifying;
mod site;
