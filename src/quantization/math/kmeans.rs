//! Clustering: points in, centroids out.
//!
//! Lloyd's algorithm (IEEE Transactions on Information Theory 28, 1982) from k-means++ (Arthur and
//! Vassilvitskii, SODA 2007). The result depends on the points and the seed alone, not on the
//! number of threads nor on the instruction set: every sum is made in the order of the points.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::centroids::Centroids;
use crate::simd::{Isa, Simd, Task, run_on};
use crate::threads::{map_chunks, with_threads};

/// Points of a cluster that are enough to place its centroid.
const ENOUGH: usize = 256;
/// Points that k-means++ chooses a cluster's first centroid from.
const CANDIDATES: usize = 16;
/// Clusters above which the first centroids are drawn evenly: k-means++ is quadratic.
const MOST_PLUS_PLUS: usize = 1024;
/// Points that one task reads.
const TASK: usize = 256;
/// The share of the error by which a round must lower it to be followed by another.
const WORTHWHILE: f64 = 1e-4;

/// The choices for a clustering.
#[derive(Debug, Clone, Copy)]
pub(in crate::quantization) struct KMeans {
    /// Number of clusters, at least one.
    pub(in crate::quantization) clusters: usize,
    /// Maximum number of rounds; fewer if the error hardly falls.
    pub(in crate::quantization) rounds: usize,
    /// The seed of the random numbers.
    pub(in crate::quantization) seed: u64,
}

impl KMeans {
    /// Returns the number of `points` that training should see.
    pub(in crate::quantization) fn enough(clusters: usize, points: usize) -> usize {
        points.min(clusters.saturating_mul(ENOUGH))
    }

    /// Returns the centroids of `points`, which are stored without gaps and are at least `clusters`. Costs `points * clusters *
    /// dimension` a round.
    pub(in crate::quantization) fn train(self, dimension: usize, points: &[f32]) -> Centroids {
        with_threads(|| self.train_here(dimension, points))
    }

    /// [`Self::train`] in the caller's pool.
    fn train_here(self, dimension: usize, points: &[f32]) -> Centroids {
        let count = points.len() / dimension;
        debug_assert!(count >= self.clusters && self.clusters > 0);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let mut means = self.start(dimension, points, &mut rng);
        let mut last = f64::INFINITY;
        let mut clusters: Vec<u32> = Vec::new();
        for _ in 0..self.rounds {
            let nearest = assign(&Centroids::new(dimension, &means), points);
            let error: f64 = nearest.iter().map(|&(_, square)| f64::from(square)).sum();
            let settled = nearest.iter().map(|&(cluster, _)| cluster).eq(clusters.iter().copied());
            if settled || last - error < WORTHWHILE * last {
                break;
            }
            last = error;
            clusters = nearest.iter().map(|&(cluster, _)| cluster).collect();
            let mut sizes = move_means(dimension, points, &clusters, &mut means);
            fill_empty(dimension, points, &nearest, &mut sizes, &mut means);
        }
        Centroids::new(dimension, &means)
    }

    /// Returns the first centroids: points, far from each other if that is affordable.
    fn start(self, dimension: usize, points: &[f32], rng: &mut Xoshiro256PlusPlus) -> Vec<f32> {
        let row = |i: usize| &points[i * dimension..][..dimension];
        let count = points.len() / dimension;
        if self.clusters > MOST_PLUS_PLUS {
            return sample(count, self.clusters, rng).into_iter().flat_map(row).copied().collect();
        }
        let candidates = sample(count, count.min(CANDIDATES * self.clusters), rng);
        let mut means = Vec::with_capacity(self.clusters * dimension);
        let mut squares = vec![f32::INFINITY; candidates.len()];
        let mut chosen = (rng.next_u64() % candidates.len() as u64) as usize;
        loop {
            let mean = row(candidates[chosen]);
            means.extend_from_slice(mean);
            if means.len() == self.clusters * dimension {
                return means;
            }
            map_chunks(&mut squares, 4 * TASK, |task, squares| {
                for (s, &i) in squares.iter_mut().zip(&candidates[task * 4 * TASK..]) {
                    *s = s.min(square(row(i), mean));
                }
            });
            let total: f64 = squares.iter().map(|&s| f64::from(s)).sum();
            // Each candidate has a chance in proportion to its square. If all candidates equal a centroid already, the last one is
            // chosen.
            let mut left = uniform(rng) * total;
            chosen = squares
                .iter()
                .position(|&s| {
                    left -= f64::from(s);
                    left < 0.0
                })
                .unwrap_or(candidates.len() - 1);
        }
    }
}

/// Returns the centroids of `clusters` clusters of `points`, which are stored without gaps and are at least `clusters`, after at most
/// `rounds` rounds.
pub(crate) fn cluster(
    points: &[f32],
    dimension: usize,
    clusters: usize,
    rounds: usize,
    seed: u64,
) -> Vec<f32> {
    let centroids = KMeans { clusters, rounds, seed }.train(dimension, points);
    (0..centroids.count()).flat_map(|i| centroids.point(i)).collect()
}

/// Returns the nearest centroid of each point and its squared distance.
pub(super) fn assign(centroids: &Centroids, points: &[f32]) -> Vec<(u32, f32)> {
    let dimension = centroids.dimension();
    let isa = Isa::detect();
    let mut nearest = vec![(0, 0.0); points.len() / dimension];
    map_chunks(&mut nearest, TASK, |task, nearest| {
        let points = &points[task * TASK * dimension..][..nearest.len() * dimension];
        run_on(isa, Assign { centroids, points, nearest });
    });
    nearest
}

struct Assign<'a> {
    centroids: &'a Centroids,
    points: &'a [f32],
    nearest: &'a mut [(u32, f32)],
}

impl Task for Assign<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let dimension = self.centroids.dimension();
        let fours = self.nearest.chunks_mut(4).zip(self.points.chunks(4 * dimension));
        for (nearest, points) in fours {
            // The first point fills the places that the last group lacks.
            let point = |i: usize| {
                points.get(i * dimension..(i + 1) * dimension).unwrap_or(&points[..dimension])
            };
            let four = self.centroids.nearest([point(0), point(1), point(2), point(3)]);
            nearest.copy_from_slice(&four[..nearest.len()]);
        }
    }
}

/// Moves each mean to the middle of its points; the mean of an empty cluster stays. Returns the sizes.
fn move_means(dimension: usize, points: &[f32], clusters: &[u32], means: &mut [f32]) -> Vec<usize> {
    let mut sizes = vec![0_usize; means.len() / dimension];
    for &cluster in clusters {
        sizes[cluster as usize] += 1;
    }
    // Points by cluster, in their order: each mean is then one task, and sums in one order.
    let mut ends = Vec::with_capacity(sizes.len());
    let mut next: Vec<usize> = sizes
        .iter()
        .scan(0, |end, size| {
            let start = *end;
            *end += size;
            ends.push(*end);
            Some(start)
        })
        .collect();
    let mut members = vec![0_usize; clusters.len()];
    for (i, &cluster) in clusters.iter().enumerate() {
        members[next[cluster as usize]] = i;
        next[cluster as usize] += 1;
    }
    map_chunks(means, dimension, |cluster, mean| {
        let (size, end) = (sizes[cluster], ends[cluster]);
        if size == 0 {
            return;
        }
        let mut sums = vec![0.0_f64; dimension];
        for &i in &members[end - size..end] {
            for (sum, &x) in sums.iter_mut().zip(&points[i * dimension..][..dimension]) {
                *sum += f64::from(x);
            }
        }
        for (mean, sum) in mean.iter_mut().zip(sums) {
            *mean = (sum / size as f64) as f32;
        }
    });
    sizes
}

/// Gives each empty cluster the point that is farthest from its mean, if the point's cluster has another one. If no such point is left,
/// because all points equal means, the cluster stays empty.
fn fill_empty(
    dimension: usize,
    points: &[f32],
    nearest: &[(u32, f32)],
    sizes: &mut [usize],
    means: &mut [f32],
) {
    if !sizes.contains(&0) {
        return;
    }
    // The bits of positive floats are in their order.
    let distances = nearest.iter().map(|&(_, distance)| distance).enumerate();
    let mut farthest: Vec<(u64, u64)> = distances
        .filter(|&(_, distance)| distance > 0.0)
        .map(|(i, distance)| (u64::MAX - u64::from(distance.to_bits()), i as u64))
        .collect();
    farthest.sort_unstable();
    let mut farthest = farthest.into_iter().map(|(_, i)| i as usize);
    for cluster in 0..sizes.len() {
        if sizes[cluster] > 0 {
            continue;
        }
        let Some(i) = farthest.find(|&i| sizes[nearest[i].0 as usize] > 1) else { return };
        sizes[nearest[i].0 as usize] -= 1;
        sizes[cluster] = 1;
        means[cluster * dimension..][..dimension]
            .copy_from_slice(&points[i * dimension..][..dimension]);
    }
}

/// Returns the sum of `(a - b)^2`.
fn square(a: &[f32], b: &[f32]) -> f32 {
    let (a16, a_rest) = a.as_chunks::<16>();
    let (b16, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for (a, b) in a16.iter().zip(b16) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

/// Returns `wanted` of the numbers below `count`, ascending, each set of them as likely as any other
/// (selection sampling: Knuth, The Art of Computer Programming 2, algorithm 3.4.2 S).
pub(in crate::quantization) fn sample(
    count: usize,
    wanted: usize,
    rng: &mut Xoshiro256PlusPlus,
) -> Vec<usize> {
    if wanted >= count {
        return (0..count).collect();
    }
    let mut chosen = Vec::with_capacity(wanted);
    for i in 0..count {
        if uniform(rng) * ((count - i) as f64) < (wanted - chosen.len()) as f64 {
            chosen.push(i);
        }
    }
    chosen
}

/// Returns a number in `0..1`, with 53 random bits.
fn uniform(rng: &mut Xoshiro256PlusPlus) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what must be equal is compared exactly")]
mod tests {
    use super::*;
    use crate::quantization::tests::Random;

    fn points(centroids: &Centroids) -> Vec<Vec<f32>> {
        (0..centroids.count()).map(|i| centroids.point(i).collect()).collect()
    }

    fn error(centroids: &Centroids, data: &[f32]) -> f64 {
        assign(centroids, data).iter().map(|&(_, square)| f64::from(square)).sum()
    }

    #[test]
    fn clusters_that_are_there_are_found() {
        // Forty clusters of radius 1, 100 apart, in three dimensions, of unequal size.
        let mut random = Random(3);
        let mut data = Vec::new();
        for i in 0..1000_u64 {
            let cluster = i % 40 * (i % 7) / 6;
            for axis in 0..3 {
                data.push((cluster / 4_u64.pow(axis) % 4 * 100) as f32 + random.signed());
            }
        }
        let kmeans = KMeans { clusters: 40, rounds: 25, seed: 5 };
        let found = kmeans.train(3, &data);
        // Within a cluster the mean square is 1 (a third on each axis).
        assert!(error(&found, &data) < 1100.0, "{}", error(&found, &data));
        let once = KMeans { rounds: 1, ..kmeans }.train(3, &data);
        assert!(error(&found, &data) <= error(&once, &data));
    }

    #[test]
    fn empty_clusters_are_filled_and_points_are_used_up() {
        // The number of different points is that of clusters, and some points occur many times.
        let data: Vec<f32> = (0..400).map(|i| (i % 20).min(i / 20) as f32).collect();
        let found = KMeans { clusters: 20, rounds: 25, seed: 1 }.train(1, &data);
        assert_eq!(error(&found, &data), 0.0);
        // Fewer different points than clusters.
        let found = KMeans { clusters: 20, rounds: 25, seed: 1 }.train(2, &[1.5; 60]);
        assert_eq!(points(&found), vec![vec![1.5, 1.5]; 20]);
        // A start in which all centroids are one point: all but one are empty at first.
        let mut means = vec![0.0; 5];
        let data = [0.0, 0.0, 1.0, 2.0, 3.0, 4.0];
        let nearest = assign(&Centroids::new(1, &means), &data);
        assert!(nearest.iter().all(|&(cluster, _)| cluster == 0));
        let clusters: Vec<u32> = nearest.iter().map(|&(cluster, _)| cluster).collect();
        let mut sizes = move_means(1, &data, &clusters, &mut means);
        assert_eq!(sizes, [6, 0, 0, 0, 0]);
        fill_empty(1, &data, &nearest, &mut sizes, &mut means);
        assert_eq!(sizes, [2, 1, 1, 1, 1]);
        assert_eq!(means[1..], [4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn threads_and_seeds() {
        let mut random = Random(9);
        let data: Vec<f32> = (0..3000 * 5).map(|_| random.signed()).collect();
        let train = |threads: usize, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| KMeans { clusters: 50, rounds: 10, seed }.train(5, &data))
        };
        let one = train(1, 7);
        for threads in [2, 3, 8] {
            assert_eq!(train(threads, 7), one, "{threads} threads");
        }
        assert_ne!(train(1, 8), one);
        // Above the limit of k-means++, the first centroids are different points.
        let many = KMeans { clusters: 2000, rounds: 0, seed: 7 }.train(5, &data);
        let mut first = points(&many);
        first.sort_by(|a, b| a.partial_cmp(b).unwrap());
        first.dedup();
        assert_eq!(first.len(), 2000);
    }

    #[test]
    fn samples_are_ascending_and_even() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut seen = [0_u32; 20];
        for _ in 0..2000 {
            let chosen = sample(20, 5, &mut rng);
            assert_eq!(chosen.len(), 5);
            assert!(chosen.is_sorted_by(|a, b| a < b));
            for i in chosen {
                seen[i] += 1;
            }
        }
        // 500 each, with a standard deviation of 19.
        assert!(seen.iter().all(|&n| (400..600).contains(&n)), "{seen:?}");
        assert_eq!(sample(3, 5, &mut rng), [0, 1, 2]);
    }
}
