//! One request that changes cells of a unit: functions 5, 6, 15, 16 and 22.

use tokio_modbus::{Request, Response};

use super::plan::{Spot, Table};

/// What is changed, and by which function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Function 5.
    Coil(u16, bool),
    /// Function 15: from an address on.
    Coils(u16, Vec<bool>),
    /// Function 6.
    Register(u16, u16),
    /// Function 16: from an address on.
    Registers(u16, Vec<u16>),
    /// Function 22: the register becomes `(old & keep) | put`. No bit is in both.
    Mask {
        /// Which register.
        address: u16,
        /// Bits that stay as they are.
        keep: u16,
        /// Bits that become 1.
        put: u16,
    },
}

impl Change {
    /// Which cells.
    pub fn spot(&self) -> Spot {
        let (table, address, count) = match self {
            Change::Coil(address, _) => (Table::Coil, *address, 1),
            Change::Coils(address, bits) => (Table::Coil, *address, bits.len()),
            Change::Register(address, _) | Change::Mask { address, .. } => (Table::Holding, *address, 1),
            Change::Registers(address, words) => (Table::Holding, *address, words.len()),
        };
        Spot { table, address, count: u16::try_from(count).unwrap_or(u16::MAX) }
    }

    pub(super) fn request(&self) -> Request<'static> {
        match self.clone() {
            Change::Coil(address, bit) => Request::WriteSingleCoil(address, bit),
            Change::Coils(address, bits) => Request::WriteMultipleCoils(address, bits.into()),
            Change::Register(address, word) => Request::WriteSingleRegister(address, word),
            Change::Registers(address, words) => Request::WriteMultipleRegisters(address, words.into()),
            Change::Mask { address, keep, put } => Request::MaskWriteRegister(address, keep, put),
        }
    }

    /// What a unit answers that has taken it.
    pub(super) fn echo(&self) -> Response {
        let count = self.spot().count;
        match self {
            Change::Coil(address, bit) => Response::WriteSingleCoil(*address, *bit),
            Change::Coils(address, _) => Response::WriteMultipleCoils(*address, count),
            Change::Register(address, word) => Response::WriteSingleRegister(*address, *word),
            Change::Registers(address, _) => Response::WriteMultipleRegisters(*address, count),
            Change::Mask { address, keep, put } => Response::MaskWriteRegister(*address, *keep, *put),
        }
    }
}
