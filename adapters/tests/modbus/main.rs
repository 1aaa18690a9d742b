//! The Modbus adapter from outside: against recorded frames (`cases`), and against units that misbehave (`faults`, `late`,
//! `look`, `write`, `fence`).

mod cases;
mod faults;
mod fence;
mod late;
mod look;
mod scan;
mod site;
mod write;
