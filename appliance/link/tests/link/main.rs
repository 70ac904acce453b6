//! The link from outside: two real ends over loopback.

mod enrolment;
mod identities;
mod messages;
mod roles;
mod trust;
mod world;
