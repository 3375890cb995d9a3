//! The share of the truth in an answer.

use super::{DatasetError, GroundTruth};

/// Returns recall@k: the share of the `k` true neighbours that is among the first `k` found, averaged over
/// all queries of the truth.
///
/// `found` gives each query's keys, best first; keys are row numbers of the base vectors. A key
/// found twice counts once, and a query without an answer counts as zero. If several vectors
/// are equally distant, only those that the truth names count: see [`recall_by_distance`].
///
/// # Errors
///
/// [`DatasetError::Argument`] if `k` is zero or above [`GroundTruth::k`], or if `found` has more
/// answers than the truth has queries.
///
/// ```
/// use nearfield::dataset::{GroundTruth, recall};
///
/// let truth = GroundTruth::from_parts(2, vec![4, 7, 1, 2], None)?;
/// assert_eq!(recall([vec![7, 4], vec![2, 9]], &truth, 2)?, 0.75);
/// # Ok::<(), nearfield::dataset::DatasetError>(())
/// ```
pub fn recall(
    found: impl IntoIterator<Item: IntoIterator<Item = u64>>,
    truth: &GroundTruth,
    k: usize,
) -> Result<f64, DatasetError> {
    let mut answer = Vec::new();
    average(found, truth, k, |query, keys| {
        answer.clear();
        answer.extend(keys.into_iter().take(k));
        let exact = truth.ids(query).unwrap_or(&[]).iter().take(k);
        Ok(exact.filter(|&&id| answer.contains(&u64::from(id))).count())
    })
}

/// Returns recall@k with ties counted: the share of the first `k` found that are no further than the
/// `k`-th true neighbour, averaged over all queries of the truth.
///
/// `found` gives the distances of distinct vectors, in the truth's unit. A distance counts up to
/// `tolerance` times the `k`-th one above it (1e-3 is usual), so that rounding does not decide.
///
/// # Errors
///
/// As for [`recall`], and if the truth has no distances.
pub fn recall_by_distance(
    found: impl IntoIterator<Item: IntoIterator<Item = f32>>,
    truth: &GroundTruth,
    k: usize,
    tolerance: f32,
) -> Result<f64, DatasetError> {
    average(found, truth, k, |query, distances| {
        let exact = truth.distances(query).ok_or_else(|| DatasetError::Argument {
            name: "truth",
            value: "without distances".into(),
            allowed: "one with distances",
        })?;
        let limit = exact[k - 1] + tolerance * exact[k - 1].abs();
        Ok(distances.into_iter().take(k).filter(|&d| d <= limit).count())
    })
}

/// Averages the counts that `hits` returns for each answer.
fn average<F: IntoIterator>(
    found: impl IntoIterator<Item = F>,
    truth: &GroundTruth,
    k: usize,
    mut hits: impl FnMut(usize, F) -> Result<usize, DatasetError>,
) -> Result<f64, DatasetError> {
    if k == 0 || k > truth.k() {
        let value = format!("{k} with {} neighbours known", truth.k());
        let allowed = "1 to the number of neighbours known";
        return Err(DatasetError::Argument { name: "k", value, allowed });
    }
    let mut sum = 0;
    for (query, answer) in found.into_iter().enumerate() {
        if query == truth.len() {
            let value = format!("more than {query} answers");
            let allowed = "one answer for each query";
            return Err(DatasetError::Argument { name: "found", value, allowed });
        }
        sum += hits(query, answer)?;
    }
    Ok(sum as f64 / (truth.len() * k) as f64)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "small fractions are exact")]
mod tests {
    use super::*;

    #[test]
    fn duplicates_and_missing_answers_do_not_help() {
        let truth = GroundTruth::from_parts(3, vec![1, 2, 3, 4, 5, 6], None).unwrap();
        assert_eq!(recall([vec![1, 1, 1], vec![4, 5, 6]], &truth, 3).unwrap(), 4.0 / 6.0);
        assert_eq!(recall([vec![1, 2, 3]], &truth, 3).unwrap(), 0.5);
        // Answers beyond the first k do not count, on either side.
        assert_eq!(recall([vec![9, 9, 1], vec![6, 4, 5]], &truth, 1).unwrap(), 0.0);
        assert!(recall([vec![1]], &truth, 0).is_err());
        assert!(recall([vec![1]], &truth, 4).is_err());
        assert!(recall([vec![], vec![], vec![]], &truth, 3).is_err());
    }

    #[test]
    fn ties_count_by_distance() {
        let truth = GroundTruth::from_parts(2, vec![1, 2], Some(vec![0.5, 1.0])).unwrap();
        assert_eq!(recall([vec![1, 7]], &truth, 2).unwrap(), 0.5);
        assert_eq!(recall_by_distance([[0.5, 1.0]], &truth, 2, 0.0).unwrap(), 1.0);
        assert_eq!(recall_by_distance([[0.5, 1.0005]], &truth, 2, 1e-3).unwrap(), 1.0);
        assert_eq!(recall_by_distance([[0.5, 1.1]], &truth, 2, 1e-3).unwrap(), 0.5);
        assert_eq!(recall_by_distance([[0.5, f32::NAN]], &truth, 2, 1e-3).unwrap(), 0.5);
        // Negated inner products: the tolerance still widens.
        let negative = GroundTruth::from_parts(1, vec![1], Some(vec![-2.0])).unwrap();
        assert_eq!(recall_by_distance([[-1.999]], &negative, 1, 1e-3).unwrap(), 1.0);
        let without = GroundTruth::from_parts(1, vec![1], None).unwrap();
        assert!(recall_by_distance([[1.0]], &without, 1, 0.0).is_err());
    }
}
