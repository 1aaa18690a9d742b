//! Every way in which the program ends, with its code. The codes are sysexits' where one fits, because systemd and
//! scripts know them; `systemd/tidegate.service` relies on them.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Fine = 0,
    /// It ran, and the answer is no: the device did not answer, the demo lost something.
    Negative = 1,
    /// The command line was not understood.
    Usage = 64,
    /// Something that is not running was needed, such as the gateway for `status`.
    Unavailable = 69,
    /// A fault of the program itself.
    Internal = 70,
    /// The log can no longer keep its promise; a fresh start may help, and systemd makes one.
    StoreLost = 74,
    /// Another gateway runs on this state folder.
    AlreadyRunning = 75,
    /// The configuration has problems; starting again changes nothing until they are mended.
    Configuration = 78,
    /// A second signal asked to end at once.
    AtOnce = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
