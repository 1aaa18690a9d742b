//! The process is killed, the disk fills, fails, lies or is cut off: what was accepted is accounted for, row by row.

mod commands;
mod damage;
mod failing_disk;
mod kills;
mod nested;
mod power_cut;
mod room;
