//! Centroids in the order in which sixteen of them are compared at once.
//!
//! Plain Rust that the compiler turns into vectors, with no fused multiply-add: so every instruction set gives the same bits, and
//! trained numbers do not depend on the machine.

/// Points of one dimension, sixteen side by side: entry `d` of a block holds component `d` of each.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::quantization) struct Centroids {
    dimension: usize,
    count: usize,
    /// `dimension` entries a block. The last block is filled up with infinities, which are nearest
    /// to nothing.
    lanes: Vec<[f32; 16]>,
}

impl Centroids {
    /// Arranges `points`, which are stored without gaps, at least one.
    pub(in crate::quantization) fn new(dimension: usize, points: &[f32]) -> Self {
        let count = points.len() / dimension;
        let mut lanes = vec![[f32::INFINITY; 16]; count.div_ceil(16) * dimension];
        for (i, point) in points.chunks_exact(dimension).enumerate() {
            for (lanes, &x) in lanes[i / 16 * dimension..].iter_mut().zip(point) {
                lanes[i % 16] = x;
            }
        }
        Self { dimension, count, lanes }
    }

    /// Returns the number of centroids.
    pub(in crate::quantization) fn count(&self) -> usize {
        self.count
    }

    /// Returns the dimension of the centroids.
    pub(in crate::quantization) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns the components of one centroid.
    pub(in crate::quantization) fn point(&self, i: usize) -> impl Iterator<Item = f32> + '_ {
        let block = &self.lanes[i / 16 * self.dimension..][..self.dimension];
        block.iter().map(move |lanes| lanes[i % 16])
    }

    /// Writes the squared distances to all centroids, sixteen in a row.
    #[inline(always)]
    pub(in crate::quantization) fn squares(&self, point: &[f32], out: &mut [[f32; 16]]) {
        for (block, out) in self.lanes.chunks_exact(self.dimension).zip(out) {
            [*out] = squares(block, [point]);
        }
    }

    /// Writes the inner products with all centroids, sixteen in a row.
    #[inline(always)]
    pub(in crate::quantization) fn products(&self, point: &[f32], out: &mut [[f32; 16]]) {
        for (block, out) in self.lanes.chunks_exact(self.dimension).zip(out) {
            let mut sums = [0.0; 16];
            for (lanes, &x) in block.iter().zip(point) {
                for (sum, y) in sums.iter_mut().zip(lanes) {
                    *sum += x * y;
                }
            }
            *out = sums;
        }
    }

    /// Returns the nearest centroid to each of `points`, the first one of equally near ones, and its squared distance.
    #[inline(always)]
    pub(in crate::quantization) fn nearest<const N: usize>(
        &self,
        points: [&[f32]; N],
    ) -> [(u32, f32); N] {
        let mut best = [Best { squares: [f32::INFINITY; 16], blocks: [0; 16] }; N];
        for (number, block) in self.lanes.chunks_exact(self.dimension).enumerate() {
            let squares = squares(block, points);
            for (best, squares) in best.iter_mut().zip(squares) {
                *best = best.or(squares, number as u32);
            }
        }
        let mut nearest = [(0, 0.0); N];
        for (nearest, best) in nearest.iter_mut().zip(best) {
            *nearest = best.least();
        }
        nearest
    }
}

/// The nearest centroid met in each lane. Passed by value, so that it stays in registers.
#[derive(Clone, Copy)]
struct Best {
    squares: [f32; 16],
    /// Numbers of the centroids' blocks.
    blocks: [u32; 16],
}

impl Best {
    /// Returns the nearer centroid in each lane, the old one if both are equally near.
    #[inline(always)]
    fn or(self, squares: [f32; 16], block: u32) -> Self {
        let mut best = self;
        let lanes = best.squares.iter_mut().zip(&mut best.blocks).zip(squares);
        for ((least, least_block), square) in lanes {
            let nearer = square < *least;
            *least = if nearer { square } else { *least };
            *least_block = if nearer { block } else { *least_block };
        }
        best
    }

    /// Returns the nearest centroid of all lanes, the first one of equally near ones.
    #[inline(always)]
    fn least(self) -> (u32, f32) {
        // Squares are not negative, so their bits are in order.
        let key = |lane: usize| {
            let number = 16 * self.blocks[lane] + lane as u32;
            u64::from(self.squares[lane].to_bits()) << 32 | u64::from(number)
        };
        let mut least = key(0);
        for lane in 1..16 {
            least = least.min(key(lane));
        }
        (least as u32, f32::from_bits((least >> 32) as u32))
    }
}

/// Returns the squared distances of `points` to the sixteen centroids of a block.
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
                    let mut found = vec![[0.0; 16]; count.div_ceil(16)];
                    centroids.squares(query, &mut found);
                    assert_eq!(found.as_flattened()[..count], squares);
                    centroids.products(query, &mut found);
                    for (i, &product) in found.as_flattened()[..count].iter().enumerate() {
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
