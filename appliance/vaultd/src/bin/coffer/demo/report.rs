//! The table at the end: what changed, and what that cost on each leg.

use serde_json::Value;

use super::changes::Changed;
use super::fleet::Point;
use super::say;
use crate::show::{size, table};

pub(super) fn print(changed: &Changed, first: &Point, second: &Point, taped: &Value, hq: &Value) {
    say("");
    let number = |value: &Value, name: &str| size(value[name].as_u64().unwrap_or(0));
    let row = |what: &str, changed: String, point: &Point| {
        vec![what.to_owned(), changed, size(point.bytes), size(point.sent), size(point.stored)]
    };
    table(
        &["", "BYTES CHANGED", "READ", "SENT ON THE LAN", "STORED"],
        &[row("first copy", size(first.bytes), first), row("the day's work", size(changed.bytes), second)],
    );
    say(&format!("The day's work: {}.", changed.what.join(", ")));
    say(&format!(
        "On tape: {}. Over the line to headquarters, all headers included: {}.",
        number(taped, "bytes"),
        number(hq, "sent_bytes")
    ));
}
