//! The serial adapter from outside, on real ptys: against recorded frames (`cases`), and against lines that misbehave (`lines`).

mod cases;
mod lines;
mod site;
