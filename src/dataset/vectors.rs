//! Matrices of vectors, read into memory or mapped.

use std::fmt;
use std::path::Path;

use bytemuck::{Pod, cast_slice};

use super::bigann::{self, Numbers};
use super::input::Input;
use super::layout::{Layout, zeroed};
use super::map::Map;
use super::{DatasetError, npy, vecs};
use crate::vector::{AsVector, Bf16, Element, F16, VectorRef};

/// Endings of the files that hold vectors, as [`Vectors::open`] knows them.
pub(super) const ENDINGS: [&str; 7] = ["fbin", "f16bin", "u8bin", "i8bin", "fvecs", "bvecs", "npy"];

/// Vectors of one dimension and element type, row after row, from a file or from memory.
///
/// Passed as a vector ([`AsVector`]) it is all of its rows one after the other, as batches take
/// them. Packed bits are rows of [`Element::U8`] here.
pub struct Vectors {
    rows: usize,
    dimension: usize,
    data: Data,
}

enum Data {
    F32(Vec<f32>),
    F16(Vec<F16>),
    Bf16(Vec<Bf16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    /// Little-endian numbers in a map, at an offset that is aligned for them; `View::new` checked that
    /// they can be used in place.
    View(View),
}

struct View {
    map: Map,
    offset: usize,
    element: Element,
}

impl View {
    /// Returns the map as numbers, if this machine can use them in place.
    fn new(map: Map, layout: &Layout) -> Option<Self> {
        let view = Self { map, offset: layout.offset as usize, element: layout.element };
        let native = cfg!(target_endian = "little") || layout.element.bytes(1) == 1;
        (native && view.bytes().as_ptr().addr().is_multiple_of(layout.element.bytes(1)))
            .then_some(view)
    }

    fn bytes(&self) -> &[u8] {
        &self.map.bytes()[self.offset..]
    }
}

impl Vectors {
    /// Reads a file of vectors into memory. The ending of its name gives the format (see the
    /// [module](super)). Costs one pass over the file.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] if the file cannot be read, is not of a known format, is empty, or is not
    /// exactly as long as its header says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DatasetError> {
        let input = Input::open(path.as_ref())?;
        Self::read(&input, &layout(&input)?)
    }

    /// Copies rows of `dimension` components, one after the other.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Argument`] if `dimension` is zero, or if `rows` is empty or no whole number of rows.
    pub fn from_rows(
        dimension: usize,
        rows: &(impl AsVector + ?Sized),
    ) -> Result<Self, DatasetError> {
        let rows = rows.as_vector();
        if rows.is_empty() || dimension == 0 || !rows.len().is_multiple_of(dimension) {
            return Err(DatasetError::Argument {
                name: "dimension",
                value: format!("{dimension} with {} components", rows.len()),
                allowed: "a divisor of a number of components above zero",
            });
        }
        let len = rows.len() / dimension;
        let data = match rows {
            VectorRef::F32(v) => Data::F32(v.to_vec()),
            VectorRef::F16(v) => Data::F16(v.to_vec()),
            VectorRef::Bf16(v) => Data::Bf16(v.to_vec()),
            VectorRef::I8(v) => Data::I8(v.to_vec()),
            VectorRef::U8(v) => Data::U8(v.to_vec()),
        };
        Ok(Self { rows: len, dimension, data })
    }

    /// Creates vectors from rows of floats that are known to be whole.
    pub(super) fn from_f32(rows: usize, dimension: usize, data: Vec<f32>) -> Self {
        debug_assert_eq!(rows * dimension, data.len());
        Self { rows, dimension, data: Data::F32(data) }
    }

    /// Creates vectors from a file that the caller mapped, and uses its rows in place if possible.
    pub(super) fn from_map(input: &Input, map: Map) -> Result<Self, DatasetError> {
        let layout = layout(input)?;
        let view = if layout.marked { None } else { View::new(map, &layout) };
        let Some(view) = view else { return Self::read(input, &layout) };
        Ok(Self { rows: layout.rows, dimension: layout.dimension, data: Data::View(view) })
    }

    fn read(input: &Input, layout: &Layout) -> Result<Self, DatasetError> {
        let data = match layout.element {
            Element::F16 => Data::F16(layout.read(input)?),
            Element::I8 => Data::I8(layout.read(input)?),
            Element::U8 => Data::U8(layout.read(input)?),
            _ => Data::F32(layout.read(input)?),
        };
        Ok(Self { rows: layout.rows, dimension: layout.dimension, data })
    }

    /// Returns the number of vectors, at least one.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns `false`: a file or matrix has at least one vector.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the number of components of a vector (bytes, for packed bits).
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns the element type.
    pub fn element(&self) -> Element {
        self.as_vector().element()
    }

    /// Returns whether the rows are in a mapped file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.data, Data::View(_))
    }

    /// Returns the vector at a position, or `None` beyond the last.
    pub fn row(&self, row: usize) -> Option<VectorRef<'_>> {
        self.range(row, 1)
    }

    /// Returns the vectors, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = VectorRef<'_>> + Clone {
        let all = self.as_vector();
        (0..self.rows).map(move |row| part(all, row * self.dimension, self.dimension))
    }

    /// Returns `rows` vectors from a position on, one after the other, or `None` beyond the last.
    pub fn range(&self, first: usize, rows: usize) -> Option<VectorRef<'_>> {
        let fits = first.checked_add(rows).is_some_and(|end| end <= self.rows);
        fits.then(|| part(self.as_vector(), first * self.dimension, rows * self.dimension))
    }

    /// Returns all components, converted exactly.
    ///
    /// # Errors
    ///
    /// [`DatasetError::OutOfMemory`].
    pub fn to_f32(&self) -> Result<Vec<f32>, DatasetError> {
        fn convert<T: Copy + Into<f32>>(from: &[T], into: &mut [f32]) {
            for (a, &b) in into.iter_mut().zip(from) {
                *a = b.into();
            }
        }
        let all = self.as_vector();
        let mut floats = zeroed(all.len())?;
        match all {
            VectorRef::F32(v) => floats.copy_from_slice(v),
            VectorRef::F16(v) => convert(v, &mut floats),
            VectorRef::Bf16(v) => convert(v, &mut floats),
            VectorRef::I8(v) => convert(v, &mut floats),
            VectorRef::U8(v) => convert(v, &mut floats),
        }
        Ok(floats)
    }

    /// Writes the big-ann layout: two `u32`, then the rows. The usual endings are `fbin`,
    /// `f16bin`, `u8bin` and `i8bin`.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Element`] for brain floats, which this layout does not know; otherwise if
    /// the file cannot be written or the number of rows does not fit a `u32`.
    pub fn write_bin(&self, path: impl AsRef<Path>) -> Result<(), DatasetError> {
        let path = path.as_ref();
        let numbers = match self.as_vector() {
            VectorRef::F32(v) => Numbers::Four(cast_slice(v)),
            VectorRef::F16(v) => Numbers::Two(cast_slice(v)),
            VectorRef::I8(v) => Numbers::Bytes(cast_slice(v)),
            VectorRef::U8(v) => Numbers::Bytes(v),
            VectorRef::Bf16(_) => {
                return Err(DatasetError::Element { path: path.into(), element: Element::Bf16 });
            }
        };
        bigann::write(path, self.rows, self.dimension, &[numbers])
    }
}

impl AsVector for Vectors {
    fn as_vector(&self) -> VectorRef<'_> {
        match &self.data {
            Data::F32(v) => VectorRef::F32(v),
            Data::F16(v) => VectorRef::F16(v),
            Data::Bf16(v) => VectorRef::Bf16(v),
            Data::I8(v) => VectorRef::I8(v),
            Data::U8(v) => VectorRef::U8(v),
            Data::View(view) => match view.element {
                Element::F16 => VectorRef::F16(numbers(view.bytes())),
                Element::I8 => VectorRef::I8(numbers(view.bytes())),
                Element::U8 => VectorRef::U8(view.bytes()),
                _ => VectorRef::F32(numbers(view.bytes())),
            },
        }
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("rows", &self.rows)
            .field("dimension", &self.dimension)
            .field("element", &self.element())
            .field("mapped", &self.is_mapped())
            .finish_non_exhaustive()
    }
}

/// Returns bytes that were checked to be aligned and a whole number of `T` as numbers.
fn numbers<T: Pod>(bytes: &[u8]) -> &[T] {
    cast_slice(bytes)
}

fn part(all: VectorRef<'_>, start: usize, len: usize) -> VectorRef<'_> {
    match all {
        VectorRef::F32(v) => VectorRef::F32(&v[start..start + len]),
        VectorRef::F16(v) => VectorRef::F16(&v[start..start + len]),
        VectorRef::Bf16(v) => VectorRef::Bf16(&v[start..start + len]),
        VectorRef::I8(v) => VectorRef::I8(&v[start..start + len]),
        VectorRef::U8(v) => VectorRef::U8(&v[start..start + len]),
    }
}

/// Returns the layout of a file, by the ending of its name.
fn layout(input: &Input) -> Result<Layout, DatasetError> {
    match input.path.extension().and_then(|e| e.to_str()).unwrap_or("") {
        "fbin" => bigann::layout(input, Element::F32),
        "f16bin" => bigann::layout(input, Element::F16),
        "u8bin" => bigann::layout(input, Element::U8),
        "i8bin" => bigann::layout(input, Element::I8),
        "fvecs" => vecs::layout(input, Element::F32),
        "bvecs" => vecs::layout(input, Element::U8),
        "npy" => npy::layout(input),
        other => Err(DatasetError::Unsupported {
            path: input.path.clone(),
            found: format!("the ending '{other}'"),
            supported: "fbin, f16bin, u8bin, i8bin, fvecs, bvecs, npy",
        }),
    }
}
