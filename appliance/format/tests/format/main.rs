//! The formats from outside: golden files of every layout, and decoders that take anything without harm.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

mod golden;
mod robust;
mod samples;
mod wire_samples;
