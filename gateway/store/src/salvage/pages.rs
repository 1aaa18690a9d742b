//! Rows in the raw pages of a database whose trees are broken: one page that is gone can hide a hundred that are not.
//!
//! Every page is looked at by itself, as <https://www.sqlite.org/fileformat2.html> lays it out; what the write-ahead log has of it
//! holds (any frame, because a row is believed by its own checksum and not by a commit). Nothing here trusts a number of the file:
//! each is checked against the page, chains are followed for as long as a row may be, and time is bounded by the caller.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

use rusqlite::types::Value;

/// Columns of a message's row; see [`crate::row::COLUMNS`].
const COLUMNS: usize = 13;
/// Columns of a row of an older format; the last ones are none.
const LEAST_COLUMNS: usize = 12;
/// Longest record that is put together: the largest body with its properties and some room.
const MOST_RECORD: u64 = 1 << 20;
/// Deepest tree that is climbed; SQLite's own limit is 20.
const MOST_DEPTH: usize = 20;
/// Most pages of a write-ahead log that are known by number; ours has a few thousand.
const MOST_FRAMES: usize = 1 << 17;

const LEAF_OF_A_TABLE: u8 = 0x0d;

/// A row as it stands in a page.
pub(super) struct Raw {
    /// The page at the top of its tree; `None` where the file does not tell.
    pub(super) root: Option<u32>,
    /// Its columns, the row's number first.
    pub(super) columns: [Value; COLUMNS],
}

/// A database file with its write-ahead log, read page by page.
pub(super) struct Pages {
    file: File,
    wal: Option<File>,
    /// Where the newest frame of a page begins in the write-ahead log.
    frames: HashMap<u32, u64>,
    size: usize,
    /// Bytes of a page that SQLite uses.
    usable: usize,
    count: u32,
    /// Pages that the file says it has, which are more than there are when it was cut short.
    said: u32,
}

impl Pages {
    /// Of a file of ours; `page_size` where its own header cannot be read.
    pub(super) fn open(path: &Path, page_size: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; 100];
        let said = file.read_exact_at(&mut header, 0).is_ok().then(|| u16::from_be_bytes([header[16], header[17]]));
        let size = match said {
            Some(1) => 65_536,
            Some(size) if size.is_power_of_two() && size >= 512 => usize::from(size),
            _ => page_size as usize,
        };
        let reserved = if said.is_some() && header[20] <= 32 { usize::from(header[20]) } else { 0 };
        let wal = File::open(PathBuf::from(format!("{}-wal", path.display()))).ok();
        let frames = wal.as_ref().map(|wal| frames(wal, size)).unwrap_or_default();
        let whole = file.metadata()?.len() / size as u64;
        // The write-ahead log makes a file longer by a page for each frame at most.
        let count = u32::try_from(whole + frames.len() as u64).unwrap_or(u32::MAX);
        let said = if said.is_some() { u32_at(&header, 28).unwrap_or(0) } else { 0 };
        Ok(Self { file, wal, frames, size, usable: size - reserved, count, said })
    }

    /// About how many rows the whole file had, of which these could be read. What it says of its own size is believed up to ten times
    /// what is there.
    pub(super) fn rows_once(&self, read: u64) -> u64 {
        /// What a message and its row come to on average, where not one tells.
        const TYPICAL_ROW: u64 = 512;
        let there = u64::from(self.count).max(1);
        let once = u64::from(self.said).clamp(there, there * 10);
        if read == 0 { once * self.size as u64 / TYPICAL_ROW } else { read * once / there }
    }

    /// Every row of a message's columns in a leaf of a tree that is in use, in no order. `each` may end it by `false`.
    pub(super) fn rows(&self, until: Instant, mut each: impl FnMut(Raw) -> bool) {
        for number in 1..=self.count {
            if Instant::now() > until {
                return;
            }
            let Some(page) = self.page(number) else { continue };
            let start = if number == 1 { 100 } else { 0 };
            if page.get(start) != Some(&LEAF_OF_A_TABLE) {
                continue;
            }
            let root = match self.root_of(number) {
                Above::Nothing => continue,
                Above::Root(root) => Some(root),
                Above::Unknown => None,
            };
            let cells = u16_at(&page, start + 3).unwrap_or(0);
            for cell in 0..usize::from(cells) {
                let Some(at) = u16_at(&page, start + 8 + 2 * cell) else { break };
                if let Some(columns) = self.cell(&page, usize::from(at))
                    && !each(Raw { root, columns })
                {
                    return;
                }
            }
        }
    }

    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; self.size];
        match (self.frames.get(&number), &self.wal) {
            (Some(at), Some(wal)) => wal.read_exact_at(&mut page, *at).ok()?,
            _ => self.file.read_exact_at(&mut page, u64::from(number.checked_sub(1)?) * self.size as u64).ok()?,
        }
        Some(page)
    }

    fn cell(&self, page: &[u8], at: usize) -> Option<[Value; COLUMNS]> {
        let mut rest = page.get(at..self.usable)?;
        let length = varint(&mut rest)?;
        let number = varint(&mut rest)? as i64;
        if length > MOST_RECORD {
            return None;
        }
        let length = length as usize;
        let local = self.local(length);
        let record = if local == length {
            rest.get(..length)?.to_vec()
        } else {
            self.with_overflow(rest.get(..local)?.to_vec(), u32_at(rest, local)?, length)?
        };
        columns(&record, number)
    }

    /// Bytes of a record that stand in its leaf.
    fn local(&self, length: usize) -> usize {
        let most = self.usable - 35;
        if length <= most {
            return length;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let even = least + (length - least) % (self.usable - 4);
        if even <= most { even } else { least }
    }

    fn with_overflow(&self, mut record: Vec<u8>, mut next: u32, length: usize) -> Option<Vec<u8>> {
        while record.len() < length {
            let page = self.page(next)?;
            next = u32_at(&page, 0)?;
            let part = (length - record.len()).min(self.usable - 4);
            record.extend_from_slice(page.get(4..4 + part)?);
        }
        Some(record)
    }

    /// Climbs by the pointer map, which says of each page what it is and which page is above it.
    fn root_of(&self, mut number: u32) -> Above {
        let covered = (self.usable / 5) as u32;
        for _ in 0..MOST_DEPTH {
            if number < 3 {
                return Above::Unknown;
            }
            let map = (number - 2) / (covered + 1) * (covered + 1) + 2;
            let (Some(index), Some(page)) = ((number - map).checked_sub(1), self.page(map)) else { return Above::Unknown };
            let at = 5 * index as usize;
            match (page.get(at), u32_at(&page, at + 1)) {
                (Some(1), _) => return Above::Root(number),
                (Some(2..=4), _) => return Above::Nothing,
                (Some(5), Some(above)) => number = above,
                _ => return Above::Unknown,
            }
        }
        Above::Unknown
    }
}

/// What is above a page.
enum Above {
    /// It is free, or goes on with a row: what looks like rows in it is left over.
    Nothing,
    Root(u32),
    Unknown,
}

/// Where each page's newest frame begins: after a header of 32 bytes, each with one of 24 that begins with the page's number. Frames
/// of an earlier round, whose salt is another, end it.
fn frames(wal: &File, size: usize) -> HashMap<u32, u64> {
    let (mut frames, mut header) = (HashMap::new(), [0; 32]);
    if wal.read_exact_at(&mut header, 0).is_err() || u32_at(&header, 8) != Some(size as u32) {
        return frames;
    }
    let (mut at, mut frame) = (32, [0; 24]);
    while frames.len() < MOST_FRAMES && wal.read_exact_at(&mut frame, at).is_ok() && frame[8..16] == header[16..24] {
        if let Some(number) = u32_at(&frame, 0).filter(|number| *number > 0) {
            frames.insert(number, at + 24);
        }
        at += 24 + size as u64;
    }
    frames
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// SQLite's variable-length number: seven bits a byte, and eight of a ninth.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..9 {
        let (first, behind) = rest.split_first()?;
        *rest = behind;
        if at == 8 {
            return Some(value << 8 | u64::from(*first));
        }
        value = value << 7 | u64::from(first & 0x7f);
        if first & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

/// The values of a record, whose first column is the row's number and stands outside it.
fn columns(record: &[u8], number: i64) -> Option<[Value; COLUMNS]> {
    let mut types = record;
    let header = usize::try_from(varint(&mut types)?).ok()?;
    let mut values = record.get(header..)?;
    types = types.get(..header.checked_sub(record.len() - types.len())?)?;
    let mut columns: [Value; COLUMNS] = std::array::from_fn(|_| Value::Null);
    for (at, column) in columns.iter_mut().enumerate() {
        if types.is_empty() && at >= LEAST_COLUMNS {
            break;
        }
        *column = value(varint(&mut types)?, &mut values)?;
    }
    columns[0] = Value::Integer(number);
    types.is_empty().then_some(columns)
}

fn value(kind: u64, values: &mut &[u8]) -> Option<Value> {
    let length = match kind {
        0 | 8 | 9 => 0,
        1..=4 => kind as usize,
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return None,
        long => usize::try_from((long - 12) / 2).ok()?,
    };
    let (bytes, behind) = values.split_at_checked(length)?;
    *values = behind;
    Some(match kind {
        0 => Value::Null,
        8 | 9 => Value::Integer(kind as i64 - 8),
        7 => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        1..=6 => {
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            Value::Integer(bytes.iter().fold(sign, |number: i64, byte| number << 8 | i64::from(*byte)))
        }
        text if text % 2 == 1 => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
        _ => Value::Blob(bytes.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;

    fn numbers(path: &Path) -> Vec<i64> {
        let mut numbers = Vec::new();
        let pages = Pages::open(path, 1024).expect("opens");
        pages.rows(Instant::now() + Duration::from_secs(20), |raw| {
            if let (Value::Integer(number), Value::Blob(_)) = (&raw.columns[0], &raw.columns[10]) {
                numbers.push(*number);
            }
            true
        });
        numbers.sort_unstable();
        numbers
    }

    /// Rows of all lengths, half of them in the write-ahead log, some deleted again.
    fn file(dir: &Path) -> (PathBuf, Connection) {
        let path = dir.join("x.db");
        let connection = Connection::open(&path).expect("opens");
        connection
            .execute_batch(
                "PRAGMA page_size=1024; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;
                 CREATE TABLE t (a INTEGER PRIMARY KEY, b, c, d, e, f, g, h, i, j, k, l);",
            )
            .expect("made");
        let add = |from: u32, to: u32| {
            let step = connection.unchecked_transaction().expect("begun");
            for n in from..to {
                let body = vec![n as u8; (n as usize * 37) % 5_000];
                step.execute("INSERT INTO t VALUES (?,1,?,-7,1e300,NULL,0,1,X'00',?,?,?)", (n, "text", i64::MIN, body, n)).expect("added");
            }
            step.commit().expect("committed");
        };
        add(0, 300);
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("copied");
        add(300, 600);
        connection.execute_batch("DELETE FROM t WHERE a BETWEEN 100 AND 199").expect("deleted");
        (path, connection)
    }

    #[test]
    fn what_is_in_the_tables_is_found_and_what_was_deleted_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, _open) = file(dir.path());
        assert_eq!(numbers(&path), (0..100).chain(200..600).collect::<Vec<i64>>());
    }

    #[test]
    fn noise_in_a_file_is_no_row_and_no_panic() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, _open) = file(dir.path());
        let wal = dir.path().join("x.db-wal");
        let whole = [std::fs::read(&path).expect("read"), std::fs::read(&wal).expect("read")];
        let copy = dir.path().join("y.db");
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % below
        };
        for turn in 0..60 {
            for (bytes, name) in whole.iter().zip(["y.db", "y.db-wal"]) {
                let mut bytes = bytes.clone();
                for _ in 0..turn * 20 {
                    let at = random(bytes.len());
                    bytes[at] = random(256) as u8;
                }
                bytes.truncate(bytes.len() - random(bytes.len() / 2));
                std::fs::write(dir.path().join(name), bytes).expect("written");
            }
            numbers(&copy);
        }
    }
}
