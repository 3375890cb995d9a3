//! The orders in which a graph grows: the coarse before the fine, or evenly.
//!
//! Input is often sorted, by topic or by source. A graph that grows group by group has few links
//! between groups, those of their first nodes, and walks end in a wrong group. Nodes from all groups that are inserted first have
//! links to each other, and each group grows around its own.

/// Ratio of two refinement levels: every 31st position of a level also belongs to the next coarser level, which is inserted first.
const APART: usize = 31;

/// Returns the position, among `count`, that is inserted after `turn` others, if multiples of the greatest powers of
/// [`APART`] are inserted first.
pub(in crate::index) fn coarse_first(turn: usize, count: usize) -> usize {
    if turn == 0 {
        return 0;
    }
    let mut apart = 1;
    let coarser = loop {
        let coarser = count.div_ceil(apart * APART);
        if coarser <= turn {
            break coarser;
        }
        apart *= APART;
    };
    let fine = turn - coarser;
    // Every 31st position is a multiple of a greater power.
    (fine + fine / (APART - 1) + 1) * apart
}

/// Positions in steps of about the golden ratio of their number, from the end to the beginning: any successive
/// ones are spread evenly over the input.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Even {
    count: usize,
    step: usize,
}

impl Even {
    pub(in crate::index) fn new(count: usize) -> Self {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;

        let first = (count as f64 * GOLDEN) as usize;
        // Without a common divisor each position occurs once.
        let step = (first.max(1)..count).find(|&step| gcd(count, step) == 1).unwrap_or(1);
        Self { count, step }
    }

    /// Returns the position after `turn < count` others.
    pub(in crate::index) fn position(self, turn: usize) -> usize {
        (turn as u128 * self.step as u128 % self.count.max(1) as u128) as usize
    }
}

fn gcd(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_position_comes_once_and_multiples_of_greater_powers_first() {
        let power = |position: usize| {
            (1..4).take_while(|&power| position.is_multiple_of(APART.pow(power))).count()
        };
        for count in [0, 1, 2, 30, 31, 32, 61, 62, 63, 960, 961, 962, 5000, 29_791, 30_000] {
            let positions: Vec<_> = (0..count).map(|turn| coarse_first(turn, count)).collect();
            assert!(positions.iter().all(|&position| position < count), "{count}");
            let mut sorted = positions.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..count), "{count}");
            let ranks = positions.iter().map(|&at| (std::cmp::Reverse(power(at)), at));
            assert!(ranks.is_sorted(), "{count}");
        }
    }

    #[test]
    fn even_positions_come_once_and_any_few_of_them_are_everywhere() {
        for count in [0, 1, 2, 3, 4, 6, 30, 97, 960, 10_000, 30_030] {
            let order = Even::new(count);
            let positions: Vec<_> = (0..count).map(|turn| order.position(turn)).collect();
            let mut sorted = positions.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..count), "{count}");
            if count < 900 {
                continue;
            }
            for few in positions.windows(30).step_by(7) {
                let mut few = few.to_vec();
                few.sort_unstable();
                let gaps = few.windows(2).map(|pair| pair[1] - pair[0]);
                assert!(gaps.max() < Some(count / 10), "{count}: {few:?}");
            }
        }
    }
}
