//! Maps of files and of fresh memory.
//!
//! They are those of `memmap2`, except where programs cannot map: in WebAssembly a map is memory of the allocator, and files are not
//! mapped.

#[cfg(not(target_family = "wasm"))]
pub(crate) use memmap2::MmapMut;
#[cfg(target_family = "wasm")]
pub(crate) use memory::MmapMut;

use std::io;

/// Returns `len` zero bytes. Where the system can, it reserves no memory for them before they are touched.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn reserve(len: usize) -> io::Result<MmapMut> {
    let mut options = memmap2::MmapOptions::new();
    options.len(len);
    // Miri knows maps without it only.
    if cfg!(not(miri)) {
        options.no_reserve_swap();
    }
    options.map_anon()
}

#[cfg(target_family = "wasm")]
pub(crate) fn reserve(len: usize) -> io::Result<MmapMut> {
    MmapMut::map_anon(len)
}

/// Maps of the allocator's memory.
#[cfg(target_family = "wasm")]
mod memory {
    use std::io;
    use std::ops::{Deref, DerefMut};

    use bytemuck::allocation::try_zeroed_vec;

    use crate::vector::Block;

    /// Memory that does not move, aligned to 64 bytes.
    #[derive(Debug)]
    pub(crate) struct MmapMut {
        blocks: Vec<Block>,
        len: usize,
    }

    impl MmapMut {
        /// Returns `len` zero bytes.
        pub(crate) fn map_anon(len: usize) -> io::Result<Self> {
            let blocks = try_zeroed_vec(len.div_ceil(size_of::<Block>()));
            Ok(Self { blocks: blocks.map_err(|()| io::ErrorKind::OutOfMemory)?, len })
        }
    }

    impl Deref for MmapMut {
        type Target = [u8];

        fn deref(&self) -> &[u8] {
            &bytemuck::cast_slice(&self.blocks)[..self.len]
        }
    }

    impl DerefMut for MmapMut {
        fn deref_mut(&mut self) -> &mut [u8] {
            &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
        }
    }
}
