//! Vectors that are subtracted from centroids and queries before codes are used.
//!
//! Queries are rounded when they are prepared, so a query that is prepared far from its lists
//! loses the small differences between their vectors. One base, the mean of all centroids, is near
//! enough to most data. If groups of lists are far apart, each group has its own base.

use crate::index::ivf::ListCoding;
use crate::quantization::cluster;
use crate::threads::map;

/// Bases, and the base of each list.
#[derive(Debug, Clone, Default)]
pub(in crate::index::ivf) struct Bases {
    dimension: usize,
    /// Bases, one row after the other.
    rows: Vec<f32>,
    /// The number of each list's base; empty if there is one base.
    of_lists: Vec<u32>,
}

/// Returns the least ratio of the squares of a centroid's distance from its base and of a residual's
/// length at which a query's rounding matters beside the codes' own error.
fn limit(coding: ListCoding) -> f64 {
    match coding {
        ListCoding::Pq4 => 256.0,
        ListCoding::Rabitq4 => 64.0,
        _ => 24.0,
    }
}

impl Bases {
    /// Creates one base for all lists.
    pub(in crate::index::ivf) fn one(base: Vec<f32>) -> Self {
        Self { dimension: base.len(), rows: base, of_lists: Vec::new() }
    }

    /// Returns one base: the mean of centroids, given one row after the other.
    pub(in crate::index::ivf) fn mean(dimension: usize, centroids: &[f32]) -> Self {
        let mut sums = vec![0.0_f64; dimension];
        for centroid in centroids.chunks_exact(dimension) {
            sums.iter_mut().zip(centroid).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let count = (centroids.len() / dimension) as f64;
        Self::one(sums.into_iter().map(|sum| (sum / count) as f32).collect())
    }

    /// Chooses the least number of bases that codes of this kind need. Each residual of a sample is given by its list and
    /// the square of its length.
    pub(in crate::index::ivf) fn choose(
        dimension: usize,
        centroids: &[f32],
        residuals: &[(u32, f32)],
        coding: ListCoding,
        seed: u64,
    ) -> Self {
        /// The share (1/`SHORT`) of residuals that may be shorter than the limit demands.
        const SHORT: usize = 10;
        const ROUNDS: usize = 10;
        const STEP: usize = 4;

        let lists = centroids.len() / dimension;
        let mut bases = Self::mean(dimension, centroids);
        let mut count = 1;
        loop {
            let offsets = bases.offsets(centroids);
            let mut short = 0;
            for &(list, square) in residuals {
                let offset = offsets[list as usize];
                // A residual of zero has no error.
                short += usize::from(square > 0.0 && offset > limit(coding) * f64::from(square));
            }
            if short * SHORT <= residuals.len() || count == lists {
                return bases;
            }
            count = (count * STEP).min(lists);
            bases = if count == lists {
                let of_lists = (0..lists as u32).collect();
                Self { dimension, rows: centroids.to_vec(), of_lists }
            } else {
                let rows = cluster(centroids, dimension, count, ROUNDS, seed);
                let of_lists =
                    map(lists, |list| nearest(&rows, &centroids[list * dimension..][..dimension]));
                Self { dimension, rows, of_lists }
            };
        }
    }

    /// Returns the bases that [`Self::rows`] and [`Self::of_lists`] returned. Returns `None` if they do not match.
    pub(in crate::index::ivf) fn restored(
        dimension: usize,
        rows: Vec<f32>,
        of_lists: Vec<u32>,
    ) -> Option<Self> {
        let count = rows.len() / dimension;
        let sound = rows.len().is_multiple_of(dimension)
            && rows.iter().all(|x| x.is_finite())
            && of_lists.iter().all(|&base| (base as usize) < count);
        let one = count == 1 && of_lists.iter().all(|&base| base == 0);
        let of_lists = if one { Vec::new() } else { of_lists };
        sound.then_some(Self { dimension, rows, of_lists })
    }

    /// Returns all bases, one row after the other.
    pub(in crate::index::ivf) fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Returns the number of a list's base.
    pub(in crate::index::ivf) fn of_list(&self, list: u32) -> u32 {
        self.of_lists.get(list as usize).copied().unwrap_or(0)
    }

    /// Returns the base of a list.
    pub(in crate::index::ivf) fn row_of(&self, list: u32) -> &[f32] {
        let base = self.of_list(list) as usize;
        &self.rows[base * self.dimension..][..self.dimension]
    }

    /// Returns the square of each centroid's distance from its base.
    pub(in crate::index::ivf) fn offsets(&self, centroids: &[f32]) -> Vec<f64> {
        (0..)
            .zip(centroids.chunks_exact(self.dimension))
            .map(|(list, centroid)| square(self.row_of(list), centroid))
            .collect()
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index::ivf) fn bytes(&self) -> usize {
        (self.rows.capacity() + self.of_lists.capacity()) * 4
    }
}

/// Returns `(a - b)^2`, summed up in the order of components.
fn square(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Returns the number of the row that is nearest to a point, the first of them if several are.
fn nearest(rows: &[f32], point: &[f32]) -> u32 {
    let mut least = (f64::INFINITY, 0);
    for (number, row) in (0..).zip(rows.chunks_exact(point.len())) {
        let square = square(row, point);
        if square < least.0 {
            least = (square, number);
        }
    }
    least.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_are_far_apart_have_bases_of_their_own() {
        // Sixty-four centroids, in four groups.
        let centroids: Vec<f32> =
            (0..64_u32).flat_map(|i| [(i % 4) as f32 * 1000.0, (i / 4) as f32]).collect();
        let choose = |square| {
            let residuals: Vec<_> = (0..64).map(|list| (list, square)).collect();
            Bases::choose(2, &centroids, &residuals, ListCoding::Rabitq4, 1)
        };
        let far = choose(1e6);
        assert_eq!((far.rows().len(), far.of_list(63)), (2, 0));
        let near = choose(4.0);
        assert_eq!(near.rows().len() / 2, 4);
        for list in 0..64_u32 {
            assert_eq!(near.of_list(list), near.of_list(list % 4));
            assert!((near.row_of(list)[0] - (list % 4) as f32 * 1000.0).abs() < 1.0);
        }
        // Residuals that are short beside the groups, too: each list has its own base.
        let each = choose(1e-6);
        assert_eq!(each.rows(), centroids);
        assert!(each.offsets(&centroids).iter().all(|&offset| offset == 0.0));
        // Residuals of zero have no error.
        assert_eq!(choose(0.0).rows().len(), 2);
    }

    #[test]
    fn bases_that_do_not_fit_their_lists_are_not_restored() {
        assert!(Bases::restored(2, vec![0.0; 4], vec![0, 1, 1]).is_some());
        assert!(Bases::restored(2, vec![0.0; 3], vec![0]).is_none());
        assert!(Bases::restored(2, vec![0.0; 4], vec![0, 2]).is_none());
        assert!(Bases::restored(2, vec![0.0, f32::NAN], vec![0]).is_none());
        assert!(Bases::restored(2, Vec::new(), vec![0]).is_none());
    }
}
