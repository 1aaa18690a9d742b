//! The fewest requests that read a list of points.
//!
//! Promises: each point is read by exactly one request, whole; no request is longer than the device allows; no request
//! crosses a hole wider than it may. Pure: what a device refuses is learned by whoever asks, who then [splits](Request::split).

use std::fmt;

/// The four tables of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Bits that can be written; function 1.
    Coil,
    /// Bits that can only be read; function 2.
    Discrete,
    /// Registers that can be written; function 3.
    Holding,
    /// Registers that can only be read; function 4.
    Input,
}

impl Table {
    /// Whether its cells are single bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }

    /// The function that reads it.
    pub fn function(self) -> u8 {
        match self {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete input",
            Table::Holding => "holding register",
            Table::Input => "input register",
        })
    }
}

/// Where a point lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// In which table.
    pub table: Table,
    /// The first cell, from 0.
    pub address: u16,
    /// How many cells; at least 1.
    pub count: u16,
}

impl Spot {
    /// The cell after the last. Beyond 16 bits when the spot ends at the end of the table.
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }
}

/// What a device takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most registers in one request.
    pub registers: u16,
    /// Most bits in one request.
    pub bits: u16,
    /// Most cells between two points that are read and thrown away.
    pub gap: u16,
}

/// One request, and which cells of its answer belong to which point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub spot: Spot,
    /// In the order of their addresses; never empty.
    pub slices: Vec<Slice>,
}

/// A point's share of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Which of the points that were planned.
    pub point: usize,
    /// Its first cell in the answer.
    pub at: usize,
    /// How many cells.
    pub count: usize,
}

/// Plans points, given as their number and place. A point that is longer than the limit gets a request of its own
/// all the same; the configuration check refuses such points before.
pub fn plan(points: impl IntoIterator<Item = (usize, Spot)>, limits: &Limits) -> Vec<Request> {
    let mut points: Vec<_> = points.into_iter().collect();
    points.sort_by_key(|(at, spot)| (spot.table, spot.address, spot.count, *at));
    let mut requests = Vec::new();
    let mut joined: Vec<(usize, Spot)> = Vec::new();
    let mut span: Option<Spot> = None;
    for (at, spot) in points {
        match span.and_then(|so_far| join(so_far, spot, limits)) {
            Some(wider) => span = Some(wider),
            None => {
                requests.extend(request(&joined));
                joined.clear();
                span = Some(spot);
            }
        }
        joined.push((at, spot));
    }
    requests.extend(request(&joined));
    requests
}

/// Both in one, if that is allowed. `next` does not begin before `so_far`.
fn join(so_far: Spot, next: Spot, limits: &Limits) -> Option<Spot> {
    let most = if so_far.table.is_bits() { limits.bits } else { limits.registers };
    let near = u32::from(next.address) <= so_far.end() + u32::from(limits.gap);
    let count = so_far.end().max(next.end()) - u32::from(so_far.address);
    (so_far.table == next.table && near && count <= u32::from(most)).then(|| Spot { count: u16::try_from(count).unwrap_or(most), ..so_far })
}

/// One request over points that are in the order of their addresses.
fn request(points: &[(usize, Spot)]) -> Option<Request> {
    let (_, first) = points.first()?;
    let end = points.iter().map(|(_, spot)| spot.end()).max()?;
    let slice = |(point, spot): &(usize, Spot)| Slice {
        point: *point,
        at: usize::from(spot.address.saturating_sub(first.address)),
        count: usize::from(spot.count),
    };
    let count = u16::try_from(end - u32::from(first.address)).unwrap_or(u16::MAX);
    Some(Request { spot: Spot { count, ..*first }, slices: points.iter().map(slice).collect() })
}

impl Request {
    /// In two, at the widest hole, or as near the middle as points can be parted; `None` when they cannot.
    /// So a cell that the device does not have ends up alone after a few refusals, and its neighbours are read.
    pub fn split(&self) -> Option<(Request, Request)> {
        let points: Vec<(usize, Spot)> = self.slices.iter().map(|slice| (slice.point, self.spot_of(slice))).collect();
        let mut end = 0;
        let mut best = None;
        for (at, (_, spot)) in points.iter().enumerate() {
            if at > 0 && u32::from(spot.address) >= end {
                let from_middle = (points.len() / 2).abs_diff(at);
                best = best.max(Some((u32::from(spot.address) - end, std::cmp::Reverse(from_middle), at)));
            }
            end = end.max(spot.end());
        }
        let (left, right) = points.split_at(best?.2);
        Some((request(left)?, request(right)?))
    }

    /// Where a slice lies in the unit's table.
    pub fn spot_of(&self, slice: &Slice) -> Spot {
        let narrow = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Spot { table: self.spot.table, address: self.spot.address.saturating_add(narrow(slice.at)), count: narrow(slice.count) }
    }
}

/// `holding registers 100 to 109`, `coil 3`.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 | 1 => write!(f, "{} {}", self.table, self.address),
            _ => write!(f, "{}s {} to {}", self.table, self.address, self.end() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { registers: 125, bits: 2000, gap: 8 };

    fn holding(address: u16, count: u16) -> Spot {
        Spot { table: Table::Holding, address, count }
    }

    fn asked(points: &[Spot], limits: &Limits) -> Vec<(u16, u16)> {
        plan(points.iter().copied().enumerate(), limits).iter().map(|r| (r.spot.address, r.spot.count)).collect()
    }

    #[test]
    fn neighbours_share_a_request_across_a_small_hole() {
        assert_eq!(asked(&[holding(10, 2), holding(0, 2), holding(21, 1)], &LIMITS), [(0, 12), (21, 1)]);
        assert_eq!(asked(&[holding(0, 2), holding(3, 1)], &Limits { gap: 0, ..LIMITS }), [(0, 2), (3, 1)]);
    }

    #[test]
    fn the_last_registers_of_a_table_can_be_read() {
        assert_eq!(asked(&[holding(65_535, 1), holding(65_530, 2)], &LIMITS), [(65_530, 6)]);
    }

    #[test]
    fn a_refused_request_splits_at_its_widest_hole() {
        let request = plan([holding(0, 1), holding(1, 1), holding(7, 1), holding(9, 1)].into_iter().enumerate(), &LIMITS).remove(0);
        let (left, right) = request.split().expect("four points");
        assert_eq!((left.spot, right.spot), (holding(0, 2), holding(7, 3)));
        let (left, right) = left.split().expect("two points");
        assert_eq!((left.spot, right.spot), (holding(0, 1), holding(1, 1)));
        assert_eq!(left.split(), None);
    }

    fn any_spot() -> impl Strategy<Value = Spot> {
        let table = prop_oneof![Just(Table::Coil), Just(Table::Discrete), Just(Table::Holding), Just(Table::Input)];
        (table, prop_oneof![0_u16..300, 65_000_u16..=65_535], 1_u16..20).prop_map(|(table, address, count)| Spot {
            table,
            address,
            count: count.min(u16::try_from(65_536 - u32::from(address)).unwrap_or(u16::MAX)),
        })
    }

    /// Each point once, whole, at the right place; each request tight.
    fn check(points: &[Spot], requests: &[Request]) -> Result<(), TestCaseError> {
        let mut seen = vec![0; points.len()];
        for request in requests {
            for slice in &request.slices {
                seen[slice.point] += 1;
                prop_assert_eq!(request.spot_of(slice), points[slice.point]);
                prop_assert!(slice.at + slice.count <= usize::from(request.spot.count));
            }
            prop_assert_eq!(request.slices.iter().map(|s| s.at).min(), Some(0));
            prop_assert_eq!(request.slices.iter().map(|s| s.at + s.count).max(), Some(usize::from(request.spot.count)));
        }
        prop_assert!(seen.iter().all(|n| *n == 1), "each point exactly once");
        Ok(())
    }

    proptest! {
        #[test]
        fn every_point_is_read_once_and_within_the_limits(
            points in proptest::collection::vec(any_spot(), 0..60), registers in 20_u16..=125, bits in 20_u16..=2000, gap in 0_u16..30,
        ) {
            let limits = Limits { registers, bits, gap };
            let requests = plan(points.iter().copied().enumerate(), &limits);
            check(&points, &requests)?;
            for request in &requests {
                let most = if request.spot.table.is_bits() { bits } else { registers };
                prop_assert!(request.spot.count <= most);
                let mut end = u32::from(request.spot.address);
                for spot in request.slices.iter().map(|s| request.spot_of(s)) {
                    prop_assert!(u32::from(spot.address) <= end + u32::from(gap));
                    end = end.max(spot.end());
                }
            }
        }

        #[test]
        fn splitting_loses_no_point(points in proptest::collection::vec(any_spot(), 1..40)) {
            let mut open = plan(points.iter().copied().enumerate(), &LIMITS);
            let mut alone = Vec::new();
            while let Some(request) = open.pop() {
                match request.split() {
                    Some((left, right)) => open.extend([left, right]),
                    None => alone.push(request),
                }
            }
            check(&points, &alone)?;
            let mut spots: Vec<_> = alone.iter().map(|r| (r.spot.table, r.spot.address, r.spot.end())).collect();
            spots.sort();
            prop_assert!(spots.windows(2).all(|w| w[0].0 != w[1].0 || w[0].2 <= u32::from(w[1].1)), "what is left does not overlap");
        }
    }
}
