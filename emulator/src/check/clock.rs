//! Sparse vector clocks: up to which epoch of each warp, lane by lane, accesses are known to have happened before.

use std::{cmp::Ordering, sync::Arc};

/// How much of a warp is known: accesses of a lane in epochs up to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// One number for all lanes.
    All(u32),
    /// A number for each lane.
    Lanes(Arc<[u32; 32]>),
}

impl Known {
    /// The number of a lane.
    #[inline(always)]
    pub fn of(&self, lane: u32) -> u32 {
        match self {
            Known::All(epoch) => *epoch,
            Known::Lanes(lanes) => lanes[lane as usize & 31],
        }
    }

    /// With the lanes of `mask` known up to `epoch` at least.
    pub fn raised(&self, mask: u32, epoch: u32) -> Known {
        let lanes = std::array::from_fn(|l| match mask >> l & 1 {
            1 => self.of(l as u32).max(epoch),
            _ => self.of(l as u32),
        });
        Known::from_lanes(lanes)
    }

    /// What either knows.
    pub fn join(&self, other: &Known) -> Known {
        match (self, other) {
            (Known::All(a), Known::All(b)) => Known::All(*a.max(b)),
            (Known::Lanes(a), Known::Lanes(b)) if Arc::ptr_eq(a, b) => self.clone(),
            _ => Known::from_lanes(std::array::from_fn(|l| self.of(l as u32).max(other.of(l as u32)))),
        }
    }

    fn from_lanes(lanes: [u32; 32]) -> Known {
        if lanes.iter().all(|&e| e == lanes[0]) {
            Known::All(lanes[0])
        } else {
            Known::Lanes(Arc::new(lanes))
        }
    }
}

/// What is known of all warps of a grid. Warps count through the grid; those that are not listed are known up to epoch 0, in which nothing
/// happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    /// By warp.
    entries: Vec<(u32, Known)>,
}

impl Clock {
    /// What is known of a warp.
    #[inline(always)]
    pub fn get(&self, warp: u32) -> Option<&Known> {
        let at = self.entries.partition_point(|e| e.0 < warp);
        self.entries.get(at).filter(|e| e.0 == warp).map(|e| &e.1)
    }

    /// Adds what is known of one warp.
    pub fn raise(&mut self, warp: u32, known: &Known) {
        let at = self.entries.partition_point(|e| e.0 < warp);
        match self.entries.get_mut(at).filter(|e| e.0 == warp) {
            Some(entry) => entry.1 = entry.1.join(known),
            None => self.entries.insert(at, (warp, known.clone())),
        }
    }

    /// Adds what `other` knows.
    pub fn join(&mut self, other: &Clock) {
        if other.entries.iter().all(|(w, k)| self.get(*w).is_some_and(|mine| covers(mine, k))) {
            return;
        }
        let mut joined = Vec::with_capacity(self.entries.len() + other.entries.len());
        let (mut a, mut b) = (self.entries.iter().peekable(), other.entries.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            match x.0.cmp(&y.0) {
                Ordering::Less => joined.extend(a.next().cloned()),
                Ordering::Greater => joined.extend(b.next().cloned()),
                Ordering::Equal => {
                    joined.push((x.0, x.1.join(&y.1)));
                    a.next();
                    b.next();
                }
            }
        }
        joined.extend(a.cloned());
        joined.extend(b.cloned());
        self.entries = joined;
    }

    /// Whether this knows all that `other` does.
    pub fn covers(&self, other: &Clock) -> bool {
        other.entries.iter().all(|(w, k)| self.get(*w).is_some_and(|mine| covers(mine, k)))
    }
}

fn covers(a: &Known, b: &Known) -> bool {
    match (a, b) {
        (Known::All(a), Known::All(b)) => a >= b,
        _ => (0..32).all(|l| a.of(l) >= b.of(l)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_knows_what_either_side_knows_lane_by_lane() {
        let mut a = Clock::default();
        a.raise(3, &Known::All(5));
        a.raise(1, &Known::All(0).raised(0b10, 7));
        let mut b = Clock::default();
        b.raise(3, &Known::All(2).raised(0b1, 9));
        b.raise(4, &Known::All(1));
        assert!(!a.covers(&b) && !b.covers(&a));
        let (before_a, before_b) = (a.clone(), b.clone());
        a.join(&b);
        for (warp, lane, epoch) in [(3, 0, 9), (3, 1, 5), (1, 1, 7), (1, 0, 0), (4, 30, 1)] {
            assert_eq!(a.get(warp).map(|k| k.of(lane)), Some(epoch), "warp {warp}, lane {lane}");
        }
        assert!(a.covers(&before_a) && a.covers(&before_b) && a.get(2).is_none());
        assert_eq!(Known::All(1).raised(u32::MAX, 4), Known::All(4), "equal lanes are one number");
    }
}
