//! Centroids in the order in which sixteen of them are compared at once.
//!
//! Plain Rust that the compiler turns into vectors, with no fused multiply-add: so every
//! instruction set gives the same bits, and what is trained does not depend on the machine.

use std::array::from_fn;

/// Points of one dimension, sixteen side by side: entry `d` of a block holds component `d` of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Centroids {
    dimension: usize,
    count: usize,
    /// `dimension` entries a block. The last block is filled up with infinities, which are nearest
    /// to nothing.
    lanes: Vec<[f32; 16]>,
}

impl Centroids {
    /// From `points` one after the other, at least one.
    pub(super) fn new(dimension: usize, points: &[f32]) -> Self {
        let count = points.len() / dimension;
        let mut lanes = vec![[f32::INFINITY; 16]; count.div_ceil(16) * dimension];
        for (i, point) in points.chunks_exact(dimension).enumerate() {
            for (lanes, &x) in lanes[i / 16 * dimension..].iter_mut().zip(point) {
                lanes[i % 16] = x;
            }
        }
        Self { dimension, count, lanes }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Their dimension.
    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The components of one.
    pub(super) fn point(&self, i: usize) -> impl Iterator<Item = f32> + '_ {
        let block = &self.lanes[i / 16 * self.dimension..][..self.dimension];
        block.iter().map(move |lanes| lanes[i % 16])
    }

    /// Squared distances to all, into `out`, which has a place for each.
    #[inline(always)]
    pub(super) fn squares(&self, point: &[f32], out: &mut [f32]) {
        for (block, out) in self.lanes.chunks_exact(self.dimension).zip(out.chunks_mut(16)) {
            let [squares] = squares(block, [point]);
            out.copy_from_slice(&squares[..out.len()]);
        }
    }

    /// Inner products with all, into `out`, which has a place for each.
    #[inline(always)]
    pub(super) fn products(&self, point: &[f32], out: &mut [f32]) {
        for (block, out) in self.lanes.chunks_exact(self.dimension).zip(out.chunks_mut(16)) {
            let mut sums = [0.0; 16];
            for (lanes, &x) in block.iter().zip(point) {
                for (sum, y) in sums.iter_mut().zip(lanes) {
                    *sum += x * y;
                }
            }
            out.copy_from_slice(&sums[..out.len()]);
        }
    }

    /// The nearest to each of `points`, the first of them if several are, and its squared distance.
    #[inline(always)]
    pub(super) fn nearest<const N: usize>(&self, points: [&[f32]; N]) -> [(u32, f32); N] {
        let mut least = [[f32::INFINITY; 16]; N];
        let mut which = [[0_u32; 16]; N];
        for (number, block) in self.lanes.chunks_exact(self.dimension).enumerate() {
            let squares = squares(block, points);
            for n in 0..N {
                for lane in 0..16 {
                    let nearer = squares[n][lane] < least[n][lane];
                    least[n][lane] = if nearer { squares[n][lane] } else { least[n][lane] };
                    which[n][lane] = if nearer { number as u32 } else { which[n][lane] };
                }
            }
        }
        from_fn(|n| {
            let mut best = (which[n][0] * 16, least[n][0]);
            for lane in 0..16 {
                let i = 16 * which[n][lane] + lane as u32;
                let order = least[n][lane].total_cmp(&best.1).then(i.cmp(&best.0));
                if order.is_lt() {
                    best = (i, least[n][lane]);
                }
            }
            best
        })
    }
}

/// Squared distances of `points` to the sixteen of a block.
#[inline(always)]
fn squares<const N: usize>(block: &[[f32; 16]], points: [&[f32]; N]) -> [[f32; 16]; N] {
    let points = points.map(|point| &point[..block.len()]);
    let mut sums = [[0.0; 16]; N];
    for (d, lanes) in block.iter().enumerate() {
        for n in 0..N {
            let x = points[n][d];
            for lane in 0..16 {
                let difference = x - lanes[lane];
                sums[n][lane] += difference * difference;
            }
        }
    }
    sums
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small integers are exact")]
mod tests {
    use super::*;
    use crate::quantization::tests::Random;

    #[test]
    fn the_nearest_is_the_first_of_the_nearest() {
        let mut random = Random(1);
        for dimension in [1, 2, 3, 8, 17] {
            for count in [1, 2, 15, 16, 17, 100, 256] {
                // Few values, so that many are equally near.
                let mut points = |n: usize| -> Vec<f32> {
                    (0..n * dimension).map(|_| (random.next() % 3) as f32).collect()
                };
                let (all, queries) = (points(count), points(20));
                let centroids = Centroids::new(dimension, &all);
                for query in queries.chunks_exact(dimension) {
                    let squares: Vec<f32> = all
                        .chunks_exact(dimension)
                        .map(|p| p.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum())
                        .collect();
                    let least = squares.iter().copied().fold(f32::INFINITY, f32::min);
                    let first = squares.iter().position(|&s| s == least).unwrap() as u32;
                    assert_eq!(centroids.nearest([query]), [(first, least)]);
                    assert_eq!(centroids.nearest([query, query])[1], (first, least));
                    let mut found = vec![0.0; count];
                    centroids.squares(query, &mut found);
                    assert_eq!(found, squares);
                    centroids.products(query, &mut found);
                    for (i, product) in found.into_iter().enumerate() {
                        let point: Vec<f32> = centroids.point(i).collect();
                        assert_eq!(point, all[i * dimension..][..dimension]);
                        let expected: f32 = point.iter().zip(query).map(|(a, b)| a * b).sum();
                        assert_eq!(product, expected);
                    }
                }
            }
        }
    }
}
