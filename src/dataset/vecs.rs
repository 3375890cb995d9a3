//! The layout of the TEXMEX corpora: each row begins with its dimension.
//!
//! Described at <http://corpus-texmex.irisa.fr/>.

use super::DatasetError;
use super::input::Input;
use super::layout::Layout;
use crate::vector::Element;

/// Returns the layout of rows of `element`. The first row gives the dimension; the dimensions of the others are
/// compared with it when they are read.
pub(super) fn layout(input: &Input, element: Element) -> Result<Layout, DatasetError> {
    if input.len < 4 {
        return Err(input.length(4));
    }
    let mut mark = [0; 4];
    input.read_at(0, &mut mark)?;
    let dimension = u64::from(u32::from_le_bytes(mark));
    if dimension == 0 {
        return Err(input.empty());
    }
    let row = 4 + dimension * element.bytes(1) as u64;
    Layout::check(input, element, input.len.div_ceil(row), dimension, 0, true)
}
