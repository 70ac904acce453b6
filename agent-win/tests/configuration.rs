//! Mistakes in a configuration: all of them, each with its line and what to do.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use coffer_agent::config::{
    BackupConfig, CompressionChoice, Manners, OnBattery, OnMetered, OpenFiles, Priority, Quiet, Scope,
    Verdict, When,
};

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
speed = 5
bandwidth = ["otherwise 2 MB/s", "otherwise 1 Mbit/s", "mon-fri 07:00-19:00 2 Mbit/s"]
on_battery = true
metered = "sometimes"
priority = "high"
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
    assert_eq!(config.manners, Manners::default());
    assert!(config.automatic_exclusions && config.run_to_completion && config.window.is_empty());
}

#[test]
fn manners_are_read_as_they_are_written() {
    let text = r#"include = ["/home"]
bandwidth = ["mon-fri 07:00-19:00 2 Mbit/s", "otherwise unlimited"]
on_battery = "pause"
metered = "continue"
priority = "normal"
"#;
    let manners = BackupConfig::parse(text).unwrap().manners;
    let said: Vec<String> = manners.bandwidth.0.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["mon-fri 07:00-19:00 2 Mbit/s", "otherwise unlimited"]);
    assert_eq!(manners.on_battery, OnBattery::Pause);
    assert_eq!(manners.metered, OnMetered::Continue);
    assert_eq!(manners.priority, Priority::Normal);
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

#[test]
fn standstill_and_databases_are_read_with_their_mistakes() {
    let config = BackupConfig::parse(
        "include = [\"/srv\"]\nopen_files = \"quiet\"\nquiet = { seconds = 2, at_most_seconds = 9 }\nbookmark = \"never\"",
    );
    let config = config.unwrap();
    let quiet = Quiet { wanted: Duration::from_secs(2), at_most: Duration::from_secs(9) };
    assert_eq!((config.open_files, config.bookmark), (OpenFiles::Quiet(quiet), None));

    let config = BackupConfig::parse(
        "[database]\napplication = \"exchange\"\nnames = [\"Orders\"]\nlogs_every = \"every 30 seconds\"",
    );
    let config = config.unwrap();
    assert_eq!(config.when, When::Every(Duration::from_secs(3600)));
    let database = config.database.unwrap();
    assert_eq!(database.logs_every, Some(Duration::from_secs(30)));
    assert!(!database.truncate_logs, "logs are thrown away though nobody said so");

    for (text, said) in [
        ("include = [\"/home/*/x\"]", "\"/home/*/x\" is a pattern, and include takes none"),
        ("include = ['C:\\Users\\?']", "is a pattern, and include takes none"),
        ("include = [\"/a\"]\ndatabase.logs = [\"/a/*.log\"]", "is a pattern, and database.logs takes none"),
        ("include = [\"/a\"]\nquiet = { seconds = 0 }", "quiet.seconds can't be used"),
        ("include = [\"/a\"]\nquiet = { seconds = 5 }", "quiet is said, but isn't waited for"),
        ("include = [\"/a\"]\nopen_files = \"vss\"", "open_files is not one that is known"),
        ("include = [\"/a\"]\nbookmark = 5", "bookmark is not a time"),
        ("when = \"continuous\"\ndatabase.application = \"exchange\"", "can't be captured continuously"),
        (
            "include = [\"/a\"]\nwhen = \"continuous\"\ndatabase.before = \"x\"",
            "line 2: a database can't be captured continuously. Write when = \"every 1 hours\"",
        ),
        (
            "include = [\"/a\"]\nwhen = \"continuous\"\ndatabase.application = \"files\"",
            "can't be captured continuously",
        ),
        ("include = [\"/a\"]\ndatabase.truncate_logs = true", "need an application"),
        ("include = [\"/a\"]\ndatabase.logs_every = \"every 9 seconds\"", "not which files are logs"),
        (
            "[database]\napplication = \"sql-server\"\nlogs_every = \"every 9 seconds\"",
            "keeps its logs to itself",
        ),
        ("include = [\"/a\"]\ndatabase.before = 7", "database.before is not a command"),
        ("include = [\"/a\"]\ndatabase.kind = \"x\"", "unknown key \"database.kind\""),
        ("database.application = \"files\"", "nothing is included"),
    ] {
        assert!(mistakes(text).contains(said), "{text}: {}", mistakes(text));
    }
}

#[test]
fn a_database_is_captured_at_one_instant_also_where_it_was_once_accepted_as_continuous() {
    let hourly = When::Every(Duration::from_secs(3600));
    for database in ["before = \"x\"", "after = \"x\"", "application = \"files\"", "logs = [\"/a/logs\"]"] {
        let unsaid = format!("include = [\"/a\"]\n[database]\n{database}\n");
        assert_eq!(BackupConfig::parse(&unsaid).unwrap().when, hourly, "{database}");
        let (config, put_right) = BackupConfig::parse_stored(&unsaid).unwrap();
        assert_eq!((config.when, put_right), (hourly, vec![]));

        let continuous = format!("when = \"continuous\"\n{unsaid}");
        let (config, put_right) = BackupConfig::parse_stored(&continuous).unwrap();
        assert_eq!(config.when, hourly);
        assert_eq!(BackupConfig::parse(&continuous).unwrap_err(), put_right);
        let manual = format!("when = \"manual\"\n{unsaid}");
        assert_eq!(BackupConfig::parse(&manual).unwrap().when, When::Manual);
    }
    assert!(BackupConfig::parse_stored("include = [\"home\"]").is_err());
}

/// What an earlier version took without a word goes on meaning what it did; whoever sets it now is told how to write it.
#[test]
fn exclusions_that_leave_out_nothing_or_everything_are_refused_with_what_to_write() {
    for (include, exclude, said) in [
        ("/srv", "*.log", "\"*.log\" matches nothing"),
        ("/srv", "*.log", "Write \"**/*.log\" for that in any folder"),
        ("/srv", "sub", "Write \"**/sub\" for that in any folder"),
        ("/srv", "sub/", "Write \"**/sub\" for that in any folder"),
        ("/srv", "a/b", "Write \"**/a/b\" for that in any folder"),
        ("/srv", "./a", "Write \"**/a\" for that in any folder"),
        ("/srv", "**.log", "Write \"**/*.log\" for that in any folder"),
        ("/srv", "/srv//a/../b", "Write \"/srv/a/b\""),
        ("/srv", "*", "\"*\" matches nothing"),
        ("/srv", "*", "Write which names"),
        (r"C:\Users", r"Temp\*.tmp", "Write \"**/Temp/*.tmp\" for that in any folder"),
        ("/srv/", "/srv", "\"/srv\" is both included and excluded"),
        (r"C:\Users", r"c:\users", "is both included and excluded"),
        ("/srv", "**/*", "exclude leaves out everything that's included"),
        ("/srv", "/srv/**", "exclude leaves out everything that's included"),
        (r"C:\Users", r"C:\Users\*", "exclude leaves out everything that's included"),
    ] {
        let text = format!("include = ['{include}']\nexclude = ['{exclude}']");
        let mistakes = mistakes(&text);
        assert!(mistakes.starts_with("line 2: ") && mistakes.contains(said), "{text}: {mistakes}");
        assert!(
            BackupConfig::parse_stored(&text).is_ok_and(|(_, put_right)| !put_right.is_empty()),
            "{text}"
        );
    }
    for (includes, exclude) in [
        ("'/srv'", "**/*.log"),
        ("'/srv'", "/srv/sub/"),
        ("'/srv'", "**/sub"),
        ("'/srv'", "{/srv/a,/srv/b}"),
        ("'/srv', '/srv/a/b'", "/srv/a"),
        ("'/srv', '/srv/a/b'", "/srv/*"),
        ("'/srv', '/tmp'", "/tmp/*"),
        (r"'C:\Users'", r"C:\Users\*\Temp"),
        (r"'C:\Users'", r"**\Temp"),
        (r"'C:\Users'", r"*:\Temp"),
    ] {
        let text = format!("include = [{includes}]\nexclude = ['{exclude}']");
        assert!(BackupConfig::parse(&text).is_ok(), "{}", mistakes(&text));
    }
    assert!(mistakes("include = ['/srv']\ncut.pages = ['a/*.dat']").contains("Write \"**/a/*.dat\""));
    assert!(BackupConfig::parse("include = ['/srv']\ncut.pages = ['*.dat']").is_ok());
}
