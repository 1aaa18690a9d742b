//! A place in several partitions as one text: `0.1234.56-2.99.` is the place 1234 of partition 0, whose next message should have the number
//! 56, and the place 99 of partition 2, whose next number is not known.

use std::{collections::BTreeMap, fmt, str::FromStr};

use tidegate_store::PARTITIONS;

/// A place in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The next place in the log.
    pub(super) seq: u64,
    /// The number of the next message, where it is known.
    pub(super) number: Option<u64>,
}

/// Places by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor(pub(super) BTreeMap<usize, Place>);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (partition, place)) in self.0.iter().enumerate() {
            let number = place.number.map(|number| number.to_string()).unwrap_or_default();
            write!(f, "{}{partition}.{}.{number}", if at == 0 { "" } else { "-" }, place.seq)?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut places = BTreeMap::new();
        for part in text.split('-').filter(|part| !part.is_empty()) {
            let mut words = part.splitn(3, '.');
            let mut word = || words.next().ok_or(());
            let (partition, seq, number) = (word()?, word()?, word()?);
            let number_of = |text: &str| text.parse::<u64>().ok().filter(|number| *number <= i64::MAX as u64 / 8).ok_or(());
            let partition = partition.parse::<usize>().ok().filter(|partition| *partition < PARTITIONS).ok_or(())?;
            let number = if number.is_empty() { None } else { Some(number_of(number)?) };
            if places.insert(partition, Place { seq: number_of(seq)?, number }).is_some() {
                return Err(());
            }
        }
        Ok(Self(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_was_written_and_nonsense_is_none() {
        let place = |seq, number| Place { seq, number };
        let cursor = Cursor(BTreeMap::from([(0, place(1234, Some(56))), (2, place(99, None))]));
        assert_eq!(cursor.to_string(), "0.1234.56-2.99.");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("".parse(), Ok(Cursor::default()));
        for bad in ["x", "0", "0.1", "4.1.1", "0.-1.1", "0.1.1-0.2.2", "0.1.x", "0.99999999999999999999.1", "0.9223372036854775807."] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }
}
