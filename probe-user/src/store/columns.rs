//! Writes figures as columns, and reads them back. A row's values are in the order of its table's columns.

use rusqlite::types::{FromSql, Type, Value};
use rusqlite::{CachedStatement, Connection, Row, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use twtrace_core::event::counts_by::CountsBy;
use twtrace_core::event::words::Word;
use twtrace_core::model::counts::{Counts, Deaths};
use twtrace_core::model::reuse::Reuse;
use twtrace_wire::{LATENCY_BUCKETS, PortTotals, bucket_lower_bound_ns, bucket_of_ns};

use super::guard::Allowance;

/// A namespace as one number: above 2^32 if others had its number before it.
pub fn netns_cell(netns: u32, nth: u32) -> u64 {
    u64::from(nth) << 32 | u64::from(netns)
}

/// Values of a row to be written.
#[derive(Debug, Default)]
pub struct Values(Vec<Value>);

impl Values {
    pub fn put(mut self, value: impl Into<Value>) -> Self {
        self.0.push(value.into());
        self
    }

    /// A number; SQLite's largest is 2⁶³ − 1.
    pub fn number(self, number: impl Into<u64>) -> Self {
        self.put(integer(number.into()))
    }

    pub fn optional(self, number: Option<impl Into<u64>>) -> Self {
        self.put(number.map(|number| integer(number.into())))
    }

    pub fn text(self, text: Option<String>) -> Self {
        self.put(text)
    }

    pub fn word(self, member: impl Word) -> Self {
        self.put(member.word().to_owned())
    }

    /// Data that only twtrace reads.
    pub fn json(self, value: &impl Serialize) -> rusqlite::Result<Self> {
        Ok(self.put(to_json(value)?))
    }

    /// A column for each member of a set.
    pub fn by<T: Word + PartialEq, const N: usize>(self, numbers: &CountsBy<T, N>) -> Self {
        let numbers = numbers.iter();
        numbers.fold(self, |values, (_, number)| values.number(number))
    }

    /// Columns for resets and aborts.
    pub fn deaths(self, deaths: &Deaths) -> Self {
        self.by(&deaths.reset_sent)
            .by(&deaths.reset_received)
            .by(&deaths.abort)
    }

    /// Columns for what connects did with TIME_WAITs.
    pub fn reuse(self, reuse: &Reuse) -> Self {
        self.number(reuse.taken)
            .number(reuse.hindered)
            .by(&reuse.refused)
    }

    /// All counts of a process.
    pub fn counts(self, counts: &Counts) -> Self {
        self.by(&counts.time_wait)
            .by(&counts.fin_wait2)
            .by(&counts.overflow)
            .deaths(&Deaths::of(counts))
            .by(&counts.ended)
    }

    /// Writes the row.
    pub fn insert(self, connection: &Connection, table: &str) -> rusqlite::Result<()> {
        let marks = vec!["?"; self.0.len()].join(",");
        let sql = format!("INSERT INTO {table} VALUES ({marks})");
        connection
            .prepare_cached(&sql)?
            .execute(params_from_iter(self.0))
            .map(drop)
    }
}

/// Clamped to the largest number that SQLite takes.
pub fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Cells of a row that is read, in their order.
pub struct Cells<'a, 'stmt> {
    row: &'a Row<'stmt>,
    next: usize,
}

impl<'a, 'stmt> Cells<'a, 'stmt> {
    pub fn of(row: &'a Row<'stmt>) -> Self {
        Self { row, next: 0 }
    }

    pub fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    pub fn number(&mut self) -> rusqlite::Result<u64> {
        Ok(unsigned(self.take()?))
    }

    pub fn optional(&mut self) -> rusqlite::Result<Option<u64>> {
        Ok(self.take::<Option<i64>>()?.map(unsigned))
    }

    /// Skips columns that are there for users.
    pub fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// A number of a namespace.
    pub fn netns(&mut self) -> rusqlite::Result<u32> {
        self.take()
    }

    /// A namespace, as written by [`netns_cell`]: its number, and how many had it before.
    pub fn netns_and_nth(&mut self) -> rusqlite::Result<(u32, u32)> {
        let cell = self.number()?;
        Ok((cell as u32, (cell >> 32) as u32))
    }

    /// The same, or null.
    pub fn netns_and_nth_or_null(&mut self) -> rusqlite::Result<(Option<u32>, u32)> {
        let cell = self.optional()?;
        Ok((
            cell.map(|cell| cell as u32),
            (cell.unwrap_or(0) >> 32) as u32,
        ))
    }

    /// A value that is stored as text.
    pub fn parsed<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
        let text: String = self.take()?;
        parse(&text).ok_or_else(|| self.is_wrong(format!("{text:?} is no known word").into()))
    }

    pub fn word<T: Word>(&mut self) -> rusqlite::Result<T> {
        self.parsed(T::from_word)
    }

    /// Data that only twtrace reads.
    pub fn json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        let text: String = self.take()?;
        serde_json::from_str(&text).map_err(|error| self.is_wrong(error.into()))
    }

    /// The error that the cell taken last can't be what was written.
    pub fn is_wrong(&self, why: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.next.saturating_sub(1), Type::Text, why)
    }

    /// A column for each member of a set.
    pub fn by<T: Word, const N: usize>(&mut self) -> rusqlite::Result<CountsBy<T, N>> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Ok(CountsBy::new(numbers))
    }

    /// Columns of resets and aborts.
    pub fn deaths(&mut self) -> rusqlite::Result<Deaths> {
        Ok(Deaths {
            reset_sent: self.by()?,
            reset_received: self.by()?,
            abort: self.by()?,
        })
    }

    /// Columns of what connects did with TIME_WAITs.
    pub fn reuse(&mut self) -> rusqlite::Result<Reuse> {
        Ok(Reuse {
            taken: self.number()?,
            hindered: self.number()?,
            refused: self.by()?,
        })
    }

    /// All counts of a process.
    pub fn counts(&mut self) -> rusqlite::Result<Counts> {
        let (time_wait, fin_wait2, overflow) = (self.by()?, self.by()?, self.by()?);
        let deaths = self.deaths()?;
        Ok(Counts {
            time_wait,
            fin_wait2,
            overflow,
            reset_sent: deaths.reset_sent,
            reset_received: deaths.reset_received,
            abort: deaths.abort,
            ended: self.by()?,
        })
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The rows of one interval in a table.
pub fn rows<T>(
    mut statement: CachedStatement<'_>,
    interval_id: i64,
    allowance: &Allowance,
    mut read: impl FnMut(&mut Cells<'_, '_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut rows = statement.query([interval_id])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        allowance.take(row)?;
        all.push(read(&mut Cells::of(row))?);
    }
    Ok(all)
}

/// A histogram as JSON: counts by the lower bound of their bucket, nanoseconds.
pub fn histogram_json(totals: &PortTotals) -> String {
    let counted = totals.buckets.iter().enumerate();
    let pairs: Vec<String> = counted
        .filter(|(_, count)| **count > 0)
        .map(|(bucket, count)| format!("\"{}\":{count}", bucket_lower_bound_ns(bucket)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// The buckets of a histogram, from JSON.
pub fn buckets(counts: &std::collections::BTreeMap<u64, u32>) -> [u32; LATENCY_BUCKETS] {
    let mut buckets = [0_u32; LATENCY_BUCKETS];
    for (time_ns, count) in counts {
        let bucket = &mut buckets[bucket_of_ns(*time_ns)];
        *bucket = bucket.saturating_add(*count);
    }
    buckets
}
