//! A plant of simulated Modbus TCP units, for measuring and for trying things out:
//! `cargo run --release -p tidegate-adapters --example plant -- 127.0.0.1:1502 100 10`: address, units, registers of each.
//!
//! Each register of each unit is another value at each read. Prints one line when it listens.

use std::{env, io};

use tidegate_adapters::{
    modbus::{
        plan::Table,
        simulator::{Simulator, counter},
        transport::Framing,
    },
    value::{Kind, Order, Shape},
};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a person or a script waits for this line")]
async fn main() -> io::Result<()> {
    let given: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, otherwise: u16| given.get(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let address = given.first().map_or("127.0.0.1:1502", String::as_str);
    let (units, registers) = (number(1, 10).min(247) as u8, number(2, 10));
    let simulator = Simulator::new();
    let shape = Shape { kind: Kind::Whole { words: 1, signed: false }, order: Order::Abcd };
    for unit in 1..=units {
        for register in 0..registers {
            simulator.live(unit, Table::Holding, register, shape, counter());
        }
    }
    let listener = TcpListener::bind(address).await?;
    println!("{units} units with {registers} registers on {}", listener.local_addr()?);
    simulator.serve_tcp(listener, Framing::Mbap).await
}
