//! Mistakes in a configuration: all of them, each with its line and what to do.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use coffer_agent::config::{BackupConfig, CompressionChoice, Scope, Verdict, When};

fn mistakes(text: &str) -> String {
    let mistakes = BackupConfig::parse(text).unwrap_err();
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}

#[test]
fn every_mistake_is_named_with_its_line_and_remedy() {
    let text = r#"include = ["home", "/srv/../etc"]
exclude = ["[", 5]
when = "now and then"
window = ["mon-fri 19:00"]
run_to_completion = "yes"
settle_seconds = -1
cut.pages = "*.dat"
compression = "zip"
bandwidth = 5
"#;
    assert_eq!(mistakes(text), include_str!("mistakes.txt"));
}

#[test]
fn nothing_included_is_a_mistake() {
    assert!(mistakes("").starts_with("line 1: nothing is included."));
    assert!(mistakes("include = []").contains("nothing is included"));
    assert!(mistakes("include = [").contains("isn't valid TOML"));
}

#[test]
fn every_key_has_a_default_that_works() {
    let config = BackupConfig::parse("include = [\"/home\"]").unwrap();
    assert_eq!(config.when, When::Continuous);
    assert_eq!(config.settle, Duration::from_secs(2));
    assert_eq!(config.compression, CompressionChoice::Auto);
    assert!(config.automatic_exclusions && config.run_to_completion && config.window.is_empty());
}

#[test]
fn scope_includes_leads_to_and_leaves_out() {
    let text = "include = [\"/home\", \"/srv/data/\"]\nexclude = [\"**/*.tmp\", \"/home/*/private\"]";
    let config = BackupConfig::parse(text).unwrap();
    let scope = Scope::new(&config, &["/home/agent-state".as_ref()]).unwrap();
    let verdict = |path: &str| scope.verdict(path.as_bytes());
    assert_eq!(verdict(""), Verdict::Toward);
    assert_eq!(verdict("/srv"), Verdict::Toward);
    assert_eq!(verdict("/srv/other"), Verdict::Outside);
    assert_eq!(verdict("/srv/data/x"), Verdict::Within);
    assert_eq!(verdict("/home/a/b.tmp"), Verdict::Outside);
    assert_eq!(verdict("/home/a/private"), Verdict::Outside);
    assert_eq!(verdict("/home/a/deep/private"), Verdict::Within);
    assert_eq!(verdict("/home/a/.cache"), Verdict::Outside);
    assert_eq!(verdict("/home/agent-state"), Verdict::Outside);
    assert!(!scope.is_reachable(b"/home/a/private/x") && scope.is_reachable(b"/home/a/x"));
}
