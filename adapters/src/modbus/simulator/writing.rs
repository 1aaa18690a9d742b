//! Requests that change a unit's cells: functions 5, 6, 15, 16 and 22.

use super::{super::plan::Table, Behaviour, Unit, refusal, word_at};

pub(super) fn is_write(pdu: &[u8]) -> bool {
    matches!(pdu.first(), Some(5 | 6 | 15 | 16 | 22 | 23))
}

/// What a request asks for.
enum Asked {
    Cells(Table, u16, Vec<u16>),
    Mask { address: u16, and: u16, or: u16 },
}

impl Asked {
    /// `None` when its length or its numbers are wrong.
    fn of(pdu: &[u8]) -> Option<Self> {
        let (address, second) = (word_at(pdu, 1), word_at(pdu, 3));
        let listed = |least: u16, most: u16, bytes: usize| {
            let right = (least..=most).contains(&second) && pdu.len() == 6 + bytes && usize::from(*pdu.get(5)?) == bytes;
            right.then(|| &pdu[6..])
        };
        Some(match (*pdu.first()?, pdu.len()) {
            (5, 5) if matches!(second, 0 | 0xff00) => Asked::Cells(Table::Coil, address, vec![u16::from(second != 0)]),
            (6, 5) => Asked::Cells(Table::Holding, address, vec![second]),
            (15, _) => {
                let data = listed(1, 1968, usize::from(second).div_ceil(8))?;
                let bit = |at: usize| u16::from(data[at / 8] >> (at % 8) & 1);
                Asked::Cells(Table::Coil, address, (0..usize::from(second)).map(bit).collect())
            }
            (16, _) => {
                let data = listed(1, 123, 2 * usize::from(second))?;
                Asked::Cells(Table::Holding, address, data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
            }
            (22, 7) => Asked::Mask { address, and: second, or: word_at(pdu, 5) },
            _ => return None,
        })
    }
}

impl Unit {
    /// Carries it out, all of it or nothing, and answers.
    pub(super) fn write(&mut self, pdu: &[u8]) -> Vec<u8> {
        let answer = pdu.get(..if pdu[0] == 22 { 7 } else { 5 }).map(<[u8]>::to_vec);
        let (Some(asked), Some(answer)) = (Asked::of(pdu), answer) else {
            return refusal(pdu, if pdu[0] == 23 { 1 } else { 3 });
        };
        let (table, address, words) = match asked {
            Asked::Cells(table, address, words) => (table, address, words),
            Asked::Mask { address, and, or } => match self.fixed(Table::Holding, address) {
                Ok(old) => (Table::Holding, address, vec![old & and | or & !and]),
                Err(code) => return refusal(pdu, code),
            },
        };
        let cells: Vec<_> = (usize::from(address)..).zip(&words).collect();
        for (at, _) in &cells {
            let Ok(at) = u16::try_from(*at) else { return refusal(pdu, 2) };
            if let Err(code) = self.fixed(table, at) {
                return refusal(pdu, code);
            }
        }
        if self.behaviour != Behaviour::Pretend {
            for (at, word) in cells {
                if let Some(cell) = u16::try_from(at).ok().and_then(|at| self.blocks.get_mut(&(table, at))) {
                    cell.words = vec![*word];
                }
            }
        }
        answer
    }

    /// What a cell holds that can be written, or the code of the refusal.
    fn fixed(&self, table: Table, address: u16) -> Result<u16, u8> {
        match self.blocks.get(&(table, address)) {
            Some(block) if block.live.is_none() => block.words.first().copied().ok_or(2),
            Some(_) => Err(4),
            None => Err(2),
        }
    }
}
