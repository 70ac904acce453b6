//! Tests of everything together: real tape libraries, and the simulated one as devices of the kernel.

pub mod tcmu;
pub mod traced;
