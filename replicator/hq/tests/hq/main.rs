//! HQ and the WAN job together, over loopback.

mod branch;
mod cuts;
mod enrolment;
mod fake;
mod fetch;
mod kill;
mod mirror;
mod order;
mod replicate;
mod restored;
mod thin;
mod world;
