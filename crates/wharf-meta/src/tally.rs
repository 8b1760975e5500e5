//! What the tables of a database have, in a form by which two databases can be compared that keep rows in another order.

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::postgres::copy::TABLES;
use crate::sql::ValueRef;

/// For each table the number of its rows, and the sum of their hashes. What is about the database itself is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, Sum>);

/// Of one table. Hashes are added column by column of 64 bits, which does not depend on the order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    rows: u64,
    hashes: [u64; 4],
}

impl Tally {
    /// Of an embedded database.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut tally = Self::default();
        // All tables at one moment.
        let reading = connection.unchecked_transaction()?;
        for table in TABLES {
            let (mut sum, mut select) = (Sum::default(), reading.prepare(&format!("select * from {}", table.name))?);
            let width = select.column_count();
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let values: Vec<_> = (0..width).map(|column| row.get_ref(column)).collect::<Result<_, _>>()?;
                sum.add(values.into_iter());
            }
            tally.note(table.name, sum);
        }
        Ok(tally)
    }

    pub(crate) fn note(&mut self, table: &'static str, sum: Sum) {
        self.0.insert(table, sum);
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.0.values().map(|sum| sum.rows).sum()
    }

    /// The tables in which the other one has something else, with what both have.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let differs = self.0.iter().filter(|(table, sum)| other.0.get(*table) != Some(sum));
        let count = |tally: &Self, table: &str| tally.0.get(table).map_or(0, |sum| sum.rows);
        differs.map(|(table, sum)| format!("{table}: {} rows here, {} there", sum.rows, count(other, table))).collect()
    }
}

/// One line: a hash of it all.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Sha256::new();
        for (table, sum) in &self.0 {
            hash.update(table.as_bytes());
            hash.update(sum.rows.to_le_bytes());
            sum.hashes.iter().for_each(|lane| hash.update(lane.to_le_bytes()));
        }
        write!(f, "{}", hex::encode(hash.finalize()))
    }
}

impl Sum {
    /// Adds a row.
    pub(crate) fn add<'a>(&mut self, values: impl Iterator<Item = ValueRef<'a>>) {
        let mut hash = Sha256::new();
        for value in values {
            match value {
                ValueRef::Null => hash.update([0]),
                ValueRef::Integer(number) => hash.update([&[1][..], &number.to_le_bytes()].concat()),
                ValueRef::Real(number) => hash.update([&[2][..], &number.to_le_bytes()].concat()),
                ValueRef::Text(text) => {
                    // PostgreSQL's texts have none of these; they are replaced on their way there.
                    let text = String::from_utf8_lossy(text).replace('\0', "\u{fffd}");
                    hash.update([3]);
                    hash.update((text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
                ValueRef::Blob(bytes) => {
                    hash.update([4]);
                    hash.update((bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                }
            }
        }
        let hash: [u8; 32] = hash.finalize().into();
        self.rows += 1;
        for (lane, bytes) in self.hashes.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            *lane = lane.wrapping_add(u64::from_le_bytes(word));
        }
    }
}
