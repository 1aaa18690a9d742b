//! The Modbus adapter from outside: against recorded frames (`cases`), and against units that misbehave (`faults`, `late`, `look`).

mod cases;
mod faults;
mod late;
mod look;
mod site;
