//! Arrays of the crate `ndarray`.

use std::borrow::Cow;

use ndarray::{ArrayBase, Data, Dimension};

/// Returns the components of an array or view, row by row: a vector, or vectors one after the other, as searches and batches take them.
/// Components that are in this order in memory are borrowed; those of another layout (columns first, a step, a reversed axis) are copied.
///
/// ```
/// use ndarray::{array, s};
/// use nearfield::{Hnsw, Metric, interop};
///
/// let rows = array![[0.0_f32, 1.0, 9.0], [1.0, 0.0, 9.0]];
/// let index = Hnsw::builder(2, Metric::L2).build()?;
/// // The first two columns: the rows are apart in memory.
/// index.insert_batch(&[1, 2], &interop::components(&rows.slice(s![.., ..2]))).run()?;
/// let hits = index.search(&interop::components(&rows.slice(s![1, ..2]))).k(1).run()?;
/// assert_eq!(hits[0].key, 2);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
pub fn components<S, D>(array: &ArrayBase<S, D>) -> Cow<'_, [S::Elem]>
where
    S: Data<Elem: Clone>,
    D: Dimension,
{
    match array.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(array.iter().cloned().collect()),
    }
}
