//! A second catalog beside the real one, made of what the metadata records say, to compare the real one with.
//!
//! It holds the tables that follow from records alone. It's scratch: nothing in it is made durable, and it's gone when it's dropped.

use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde::Serialize;

use super::{RECALL, schema};
use crate::Result;

/// A table that follows from metadata records alone, and what its rows are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    name: &'static str,
    key: &'static [&'static str],
}

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key }
}

/// What segments were given up, and what records the catalog lacks. A mirror notes the one by itself, and passes over records.
const NOT_OF_MIRRORS: [Table; 3] =
    [table("dropped", &["segment"]), table("unapplied", &["lsn"]), table("gaps", &["first"])];

const OF_RECORDS: [Table; 15] = [
    table("computers", &["computer"]),
    table("codes", &["secret"]),
    table("configurations", &["config"]),
    table("points", &["config", "point"]),
    table("parts", &["config", "point", "part"]),
    table("files", &["config", "parent", "name", "since"]),
    table("versions", &["config", "node", "since"]),
    table("log", &["lsn"]),
    table("copies", &["segment", "place"]),
    table("cartridges", &["barcode"]),
    table("drives", &["serial"]),
    table("cleaners", &["barcode"]),
    table("audit", &["lsn"]),
    table("simulated", &["barcode"]),
    table("recalls", &["config", "lsn"]),
];

/// Rows of a table that aren't what the records say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrongRows {
    pub table: &'static str,
    pub rows: u64,
}

/// The second catalog.
pub(crate) struct Shadow {
    pub(crate) db: Connection,
    path: PathBuf,
    tables: Vec<Table>,
}

impl Shadow {
    /// An empty one beside `catalog`. `of_mirror`: what a mirror notes by itself isn't compared.
    pub(crate) fn create(catalog: &Path, of_mirror: bool) -> Result<Shadow> {
        let mut path = catalog.as_os_str().to_owned();
        path.push(".compared");
        let path = PathBuf::from(path);
        let db = schema::create_scratch(&path)?;
        let mut tables = OF_RECORDS.to_vec();
        if !of_mirror {
            tables.extend(NOT_OF_MIRRORS);
        }
        Ok(Shadow { db, path, tables })
    }

    /// Where `real` differs. Both must be at the same record.
    pub(crate) fn compare(&self, real: &Connection) -> Result<Vec<WrongRows>> {
        let mut wrong = Vec::new();
        for table in &self.tables {
            if !is_equal(&self.db, real, table)? {
                wrong.push(WrongRows { table: table.name, rows: count_wrong(&self.db, real, table)? });
            }
        }
        let rows = self.wrong_state(real)?.len() as u64;
        if rows > 0 {
            wrong.push(WrongRows { table: "state", rows });
        }
        Ok(wrong)
    }

    /// Puts into `real` what it should have of those tables, whole: where one row is wrong, its neighbours' order may be too.
    pub(crate) fn replace(&self, real: &Connection, wrong: &[WrongRows]) -> Result<()> {
        for table in self.tables.iter().filter(|table| wrong.iter().any(|one| one.table == table.name)) {
            real.execute(&format!("DELETE FROM {}", table.name), [])?;
            let mut all = self.db.prepare(&format!("SELECT * FROM {}", table.name))?;
            let places = vec!["?"; all.column_count()].join(", ");
            let mut insert = real.prepare(&format!("INSERT INTO {} VALUES ({places})", table.name))?;
            let columns = all.column_count();
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                insert.execute(params_from_iter(values(row, columns)?))?;
            }
        }
        for (key, value) in self.wrong_state(real)? {
            match value {
                Some(value) => {
                    real.execute("INSERT OR REPLACE INTO state VALUES (?1, ?2)", params![key, value])?
                }
                None => real.execute("DELETE FROM state WHERE key = ?1", [key])?,
            };
        }
        Ok(())
    }

    /// Keys of the state with another value than the records give them, and that.
    fn wrong_state(&self, real: &Connection) -> Result<Vec<(String, Option<Value>)>> {
        let (ours, theirs) = (state(&self.db)?, state(real)?);
        let mut wrong = Vec::new();
        for (key, value) in &ours {
            if !schema::NOT_OF_RECORDS.contains(&key.as_str())
                && !theirs.contains(&(key.clone(), value.clone()))
            {
                wrong.push((key.clone(), Some(value.clone())));
            }
        }
        for (key, _) in theirs {
            let is_known =
                schema::NOT_OF_RECORDS.contains(&key.as_str()) || schema::OF_RECORDS.contains(&key.as_str());
            let is_ours = ours.iter().any(|(ours, _)| *ours == key);
            if !is_ours && (key.starts_with(RECALL) || !is_known) {
                wrong.push((key, None));
            }
        }
        Ok(wrong)
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        schema::remove(&self.path);
    }
}

fn state(db: &Connection) -> Result<Vec<(String, Value)>> {
    let mut query = db.prepare("SELECT key, value FROM state ORDER BY key")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn in_order(table: &Table) -> String {
    format!("SELECT * FROM {} ORDER BY {}", table.name, table.key.join(", "))
}

fn is_equal(ours: &Connection, theirs: &Connection, table: &Table) -> Result<bool> {
    let sql = in_order(table);
    let (mut ours, mut theirs) = (ours.prepare(&sql)?, theirs.prepare(&sql)?);
    let columns = ours.column_count();
    if theirs.column_count() != columns {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (ours.query([])?, theirs.query([])?);
    loop {
        let (one, other) = match (ours.next()?, theirs.next()?) {
            (None, None) => return Ok(true),
            (Some(one), Some(other)) => (one, other),
            _ => return Ok(false),
        };
        for column in 0..columns {
            if one.get_ref(column)? != other.get_ref(column)? {
                return Ok(false);
            }
        }
    }
}

/// How many rows only one of the two has; one that both have differently counts once.
fn count_wrong(ours: &Connection, theirs: &Connection, table: &Table) -> Result<u64> {
    let sql = in_order(table);
    let (mut ours, mut theirs) = (ours.prepare(&sql)?, theirs.prepare(&sql)?);
    let (columns, key) = (ours.column_count(), table.key.len());
    let at: Vec<usize> =
        table.key.iter().map(|name| ours.column_index(name)).collect::<rusqlite::Result<_>>()?;
    let key_of = |row: &[Value]| -> Vec<Value> { at[..key].iter().map(|at| row[*at].clone()).collect() };
    let (mut ours, mut theirs) = (ours.query([])?, theirs.query([])?);
    let next_of = |rows: &mut rusqlite::Rows<'_>| -> Result<Option<Vec<Value>>> {
        rows.next()?.map(|row| values(row, columns)).transpose()
    };
    let (mut one, mut other) = (next_of(&mut ours)?, next_of(&mut theirs)?);
    let mut wrong = 0;
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(wrong),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => compare_keys(&key_of(one), &key_of(other)),
        };
        wrong += u64::from(one != other);
        if order.is_le() {
            one = next_of(&mut ours)?;
        }
        if order.is_ge() {
            other = next_of(&mut theirs)?;
        }
    }
}

/// As SQLite orders values: nothing, numbers, text, bytes.
fn compare_keys(one: &[Value], other: &[Value]) -> std::cmp::Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    for (one, other) in one.iter().zip(other) {
        let order = match (one, other) {
            (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
            (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
            (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
            (one, other) => rank(one).cmp(&rank(other)),
        };
        if order.is_ne() {
            return order;
        }
    }
    std::cmp::Ordering::Equal
}

fn values(row: &Row<'_>, columns: usize) -> Result<Vec<Value>> {
    Ok((0..columns)
        .map(|column| {
            // A changed bit may have made no text of a text.
            Ok(match row.get_ref(column)? {
                rusqlite::types::ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => Value::Text(text.to_owned()),
                    Err(_) => Value::Blob(bytes.to_vec()),
                },
                other => Value::try_from(other).map_err(rusqlite::Error::from)?,
            })
        })
        .collect::<rusqlite::Result<_>>()?)
}
