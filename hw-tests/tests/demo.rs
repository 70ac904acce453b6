//! The main job, as the README has it.

mod support;

#[test]
fn the_demo_brings_everything_back_bit_for_bit() {
    let output = support::program("coffer").args(["demo", "--size-mib", "60"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Everything came back, bit for bit."), "{said}");
    assert!(!said.contains("DIFFERENT"), "{said}");
}
