//! Rows with a checksum: written with it, and read only through its verification.
//!
//! The last column of every table is `sum`: the first 8 bytes of the SHA-256 of the table's name and all other
//! columns, each with its type and length. It finds what a disk flipped, not what a person changed on purpose; what
//! must be proof against that carries a tag of its own. A flip in what SQLite keeps around the rows can make rows
//! vanish without a trace in their neighbours; `check` finds that.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Params, Row, Rows, params_from_iter};
use sha2::{Digest as _, Sha256};

use crate::store::StoreError;

/// A table, its columns but for `sum`, and the columns of its primary key, which come first.
pub(super) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    key: usize,
}

impl Table {
    pub(super) const fn new(
        name: &'static str,
        key: usize,
        columns: &'static [&'static str],
    ) -> Self {
        Self { name, columns, key }
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Adds a row; `false` if its primary key is taken.
    pub(super) fn add(&self, db: &Connection, values: &[ValueRef<'_>]) -> Result<bool, StoreError> {
        Ok(self.write(db, "INSERT OR IGNORE", values)? == 1)
    }

    /// Adds a row or puts it in the place of the one of its primary key.
    pub(super) fn put(&self, db: &Connection, values: &[ValueRef<'_>]) -> Result<(), StoreError> {
        self.write(db, "INSERT OR REPLACE", values).map(|_| ())
    }

    fn write(
        &self,
        db: &Connection,
        verb: &str,
        values: &[ValueRef<'_>],
    ) -> Result<usize, StoreError> {
        let sum = ValueRef::Integer(self.sum(values.iter().copied()));
        let sql = format!(
            "{verb} INTO {} ({}, sum) VALUES ({}?)",
            self.name,
            self.columns.join(", "),
            "?, ".repeat(self.columns.len())
        );
        let values = values
            .iter()
            .copied()
            .chain([sum])
            .map(ToSqlOutput::Borrowed);
        Ok(db.prepare_cached(&sql)?.execute(params_from_iter(values))?)
    }

    /// Deletes the row of a primary key; `true` if there was one.
    pub(super) fn delete(&self, db: &Connection, key: &[ValueRef<'_>]) -> Result<bool, StoreError> {
        let sql = format!("DELETE FROM {} WHERE {}", self.name, self.key_is("="));
        let key = key.iter().copied().map(ToSqlOutput::Borrowed);
        Ok(db.prepare_cached(&sql)?.execute(params_from_iter(key))? == 1)
    }

    /// The row of a primary key.
    ///
    /// Where there is none, the rows on both sides of the gap are verified too: a row whose key was flipped stands
    /// beside the place where it is missed, and is an error there instead of an absence.
    pub(super) fn get<T>(
        &self,
        db: &Connection,
        key: &[ValueRef<'_>],
        decode: impl FnOnce(&Fields<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let find = |end: String| {
            let key = key.iter().copied().map(ToSqlOutput::Borrowed);
            (end, params_from_iter(key))
        };
        let (end, params) = find(format!("WHERE {}", self.key_is("=")));
        let mut decode = Some(decode);
        let mut found = None;
        self.visit(db, &end, params, |fields| {
            if let Some(decode) = decode.take() {
                found = Some(decode(fields)?);
            }
            Ok(false)
        })?;
        if found.is_none() {
            for (comparison, order) in [("<", "DESC"), (">", "ASC")] {
                let by: Vec<_> = self
                    .key_columns()
                    .iter()
                    .map(|name| format!("{name} {order}"))
                    .collect();
                let (end, params) = find(format!(
                    "WHERE {} ORDER BY {} LIMIT 1",
                    self.key_is(comparison),
                    by.join(", ")
                ));
                self.visit(db, &end, params, |_| Ok(false))?;
            }
        }
        Ok(found)
    }

    /// Whether there is a row of a primary key; `false` is as certain as in [`Table::get`].
    pub(super) fn has(&self, db: &Connection, key: &[ValueRef<'_>]) -> Result<bool, StoreError> {
        Ok(self.get(db, key, |_| Ok(()))?.is_some())
    }

    /// Shows the rows that `end` (WHERE, ORDER BY, LIMIT) selects, until `each` returns `false`.
    pub(super) fn visit(
        &self,
        db: &Connection,
        end: &str,
        params: impl Params,
        mut each: impl FnMut(&Fields<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare(db, end)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            if !each(&self.verified(row)?)? {
                break;
            }
        }
        Ok(())
    }

    /// The statement that selects the rows of `end`; [`Table::rows`] runs it.
    pub(super) fn prepare<'c>(
        &self,
        db: &'c Connection,
        end: &str,
    ) -> Result<CachedStatement<'c>, StoreError> {
        let columns = self.columns.join(", ");
        let sql = format!("SELECT {columns}, sum FROM {} {end}", self.name);
        Ok(db.prepare_cached(&sql)?)
    }

    /// Runs a statement of [`Table::prepare`], for whoever goes through two tables side by side.
    pub(super) fn rows<'s>(
        &'s self,
        statement: &'s mut CachedStatement<'_>,
        params: impl Params,
    ) -> Result<Cursor<'s>, StoreError> {
        Ok(Cursor {
            table: self,
            rows: statement.query(params)?,
        })
    }

    /// All that `end` selects.
    pub(super) fn all<T>(
        &self,
        db: &Connection,
        end: &str,
        params: impl Params,
        mut decode: impl FnMut(&Fields<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.visit(db, end, params, |fields| {
            found.push(decode(fields)?);
            Ok(true)
        })?;
        Ok(found)
    }

    fn verified<'r>(&self, row: &'r Row<'_>) -> Result<Fields<'r>, StoreError> {
        let mut values = Vec::with_capacity(self.columns.len());
        for column in 0..self.columns.len() {
            values.push(row.get_ref(column)?);
        }
        let sum = self.sum(values.iter().copied());
        if row.get_ref(self.columns.len())? != ValueRef::Integer(sum) {
            return Err(StoreError::Damaged(format!(
                "a row of table {} does not match its checksum; its key reads {}",
                self.name,
                shown(values.get(..self.key).unwrap_or_default()),
            )));
        }
        Ok(Fields {
            table: self.name,
            values,
        })
    }

    fn sum<'v>(&self, values: impl Iterator<Item = ValueRef<'v>>) -> i64 {
        let mut hash = Sha256::new();
        hash.update(self.name);
        for value in values {
            let (kind, number, bytes) = match value {
                ValueRef::Null => (0, 0, &[][..]),
                ValueRef::Integer(number) => (1, number.cast_unsigned(), &[][..]),
                ValueRef::Real(number) => (2, number.to_bits(), &[][..]),
                ValueRef::Text(bytes) => (3, bytes.len() as u64, bytes),
                ValueRef::Blob(bytes) => (4, bytes.len() as u64, bytes),
            };
            hash.update([kind]);
            hash.update(number.to_le_bytes());
            hash.update(bytes);
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        i64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn key_columns(&self) -> &'static [&'static str] {
        self.columns.get(..self.key).unwrap_or_default()
    }

    fn key_is(&self, comparison: &str) -> String {
        let marks: Vec<_> = (1..=self.key).map(|number| format!("?{number}")).collect();
        format!(
            "({}) {comparison} ({})",
            self.key_columns().join(", "),
            marks.join(", ")
        )
    }
}

/// Rows, one at a time.
pub(super) struct Cursor<'s> {
    table: &'s Table,
    rows: Rows<'s>,
}

impl Cursor<'_> {
    pub(super) fn next<T>(
        &mut self,
        decode: impl FnOnce(&Fields<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.rows.next()? {
            Some(row) => decode(&self.table.verified(row)?).map(Some),
            None => Ok(None),
        }
    }
}

/// The columns of a row that matched its checksum.
pub(super) struct Fields<'r> {
    table: &'static str,
    values: Vec<ValueRef<'r>>,
}

impl<'r> Fields<'r> {
    pub(super) fn bytes(&self, column: usize) -> Result<&'r [u8], StoreError> {
        match self.values.get(column) {
            Some(ValueRef::Blob(bytes)) => Ok(bytes),
            _ => Err(self.unexpected(column)),
        }
    }

    pub(super) fn text(&self, column: usize) -> Result<String, StoreError> {
        match self.values.get(column) {
            Some(ValueRef::Text(bytes)) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
        .ok_or_else(|| self.unexpected(column))
    }

    pub(super) fn id(&self, column: usize) -> Result<[u8; 16], StoreError> {
        let bytes = self.bytes(column)?;
        bytes.try_into().map_err(|_| self.unexpected(column))
    }

    pub(super) fn number<N: TryFrom<i64>>(&self, column: usize) -> Result<N, StoreError> {
        match self.values.get(column) {
            Some(ValueRef::Integer(number)) => N::try_from(*number).ok(),
            _ => None,
        }
        .ok_or_else(|| self.unexpected(column))
    }

    pub(super) fn unexpected(&self, column: usize) -> StoreError {
        StoreError::Damaged(format!(
            "table {}: column {column} is not of its type",
            self.table
        ))
    }
}

/// A number as a column holds it: up to 2^63 - 1.
pub(super) fn int(number: u64) -> Result<ValueRef<'static>, StoreError> {
    i64::try_from(number)
        .map(ValueRef::Integer)
        .map_err(|_| StoreError::Unsupported(format!("the number {number} is too large to keep")))
}

/// Bytes as a column holds them.
pub(super) fn blob(bytes: &[u8]) -> ValueRef<'_> {
    ValueRef::Blob(bytes)
}

/// Text as a column holds it.
pub(super) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

fn shown(values: &[ValueRef<'_>]) -> String {
    let words: Vec<_> = values
        .iter()
        .map(|value| match value {
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.escape_ascii().to_string(),
            _ => "?".to_owned(),
        })
        .collect();
    words.join(" ")
}
