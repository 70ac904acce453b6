//! The link from outside: two real ends over loopback.
// The helpers between the tests are test code too.
#![allow(clippy::unwrap_used)]

mod enrolment;
mod identities;
mod messages;
mod roles;
mod trust;
mod world;
