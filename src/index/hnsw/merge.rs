//! One graph index from several: keys, vectors and codes one behind the other, and the graphs connected by `graph/merge/`.

use super::Hnsw;
use super::builder::{check_graph, parameters};
use crate::arena::{Column, Slot};
use crate::error::IndexError;
use crate::graph::{Graph, Node, Source, Tick};
use crate::index::codes::fitting::{ENOUGH, Quantized};
use crate::index::codes::{CodeWork, Codes};
use crate::index::entries::Entries;
use crate::index::entries::key_map::KeyMap;
use crate::index::image::{CodeSettings, GraphSettings, Kernels, Settings};
use crate::threads::{map_chunks, with_threads};
use crate::vector::Block;

/// Vectors that are encoded before their codes are written.
const BATCH: usize = 1 << 14;

/// An index to merge, which is not changed meanwhile, and its vectors that are taken.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) index: &'a Hnsw,
    /// Slots in ascending order, each with the key that its vector is to have.
    pub(crate) entries: Vec<(Slot, u64)>,
}

impl Part<'_> {
    /// Writes the vector of a slot as floats.
    fn floats_into(&self, slot: Slot, floats: &mut Vec<f32>) {
        let entries = &self.index.entries;
        if let Some((form, row)) = entries.most_exact(slot) {
            form.decode(&entries.encoder, row, floats);
        }
    }

    fn coder(&self) -> Option<Vec<u8>> {
        self.index.entries.quantized.as_ref().and_then(Quantized::quantizers)
    }
}

/// Quantizer of the merged index.
enum Choice {
    /// No quantizer: too few vectors.
    None,
    /// A quantizer that a part has: codes that were made with it are copied.
    Kept(Vec<u8>),
    /// A quantizer that is fitted to a sample of all vectors.
    Fitted,
}

impl Hnsw {
    /// Returns the slots that hold a vector, and their keys, in the order of the slots.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = (Slot, u64)> + '_ {
        self.entries.occupied()
    }

    /// Appends the vector of a slot as it is stored, or the code that replaces it, to `out`.
    pub(crate) fn stored_into(&self, slot: Slot, out: &mut Vec<u8>) {
        if let Some((_, row)) = self.entries.most_exact(slot) {
            out.extend_from_slice(bytemuck::cast_slice(row));
        }
    }

    /// Returns the index of the vectors of `parts`, which must have the metric, dimension and element type of `settings`; keys must be distinct.
    /// Slots are numbered in the order of `parts`. Returns `None` if `tick` ended the merge.
    pub(crate) fn merged(
        settings: &Settings,
        parts: &[Part<'_>],
        tick: Tick<'_>,
    ) -> Result<Option<Self>, IndexError> {
        with_threads(|| Self::merged_here(settings, parts, tick))
    }

    /// Does [`Self::merged`] in the caller's pool.
    fn merged_here(
        settings: &Settings,
        parts: &[Part<'_>],
        tick: Tick<'_>,
    ) -> Result<Option<Self>, IndexError> {
        let Settings { dimension, metric, graph, codes, .. } = *settings;
        let none = || IndexError::Parameter {
            name: "index",
            value: "an exact index".to_owned(),
            allowed: "a graph index",
        };
        let GraphSettings { m, ef_construction, seed, alpha } = graph.ok_or_else(none)?;
        let (encoder, isa, engine) = settings.basis(Kernels::default()).check()?;
        check_graph(m, ef_construction)?;
        let quantized = codes.map(|CodeSettings { coding, originals }| {
            Quantized::new(coding, originals, dimension, metric, seed, isa)
        });
        let mut entries = Entries::new(encoder, engine, quantized);
        let total: usize = parts.iter().map(|part| part.entries.len()).sum();
        let choice =
            entries.quantized.as_ref().map_or(Choice::None, |q| quantizer(q, parts, total));
        let keeps = matches!(choice, Choice::None)
            || entries.quantized.as_ref().is_none_or(|q| q.originals.is_kept());
        for part in parts {
            let vectors = part.index.entries.vectors.view();
            for &(slot, key) in &part.entries {
                entries.keys.push(|place| place[0] = key)?;
                if keeps {
                    entries.vectors.push(|row| row.copy_from_slice(vectors.row(slot)))?;
                }
            }
        }
        entries.map = KeyMap::restored(entries.keys.len() as u32, Vec::new());
        if let Some(quantized) = &entries.quantized {
            encode(quantized, &choice, parts, total)?;
        }
        let parameters = parameters((m, ef_construction), seed, metric, None);
        let mut index = Self::new(entries, isa, parameters, alpha);
        let mut next = 0;
        let sources: Vec<_> = parts
            .iter()
            .map(|part| {
                let mut nodes = vec![Node::NONE; part.index.entries.keys.len()];
                for &(slot, _) in &part.entries {
                    nodes[slot.index()] = Node::new(next);
                    next += 1;
                }
                Source { graph: &part.index.graph, nodes }
            })
            .collect();
        let Some(graph) = Graph::merge(parameters, &sources, index.linking_space(), tick)? else {
            return Ok(None);
        };
        index.graph = graph;
        Ok(Some(index))
    }
}

/// Returns the quantizer for the vectors of `parts`: their own if all share one. If vectors are kept, one that is fitted to
/// all of them; if they are not, that of most vectors, because each change of codes would lose some precision.
fn quantizer(quantized: &Quantized, parts: &[Part<'_>], total: usize) -> Choice {
    let mut votes: Vec<(Option<Vec<u8>>, usize)> = Vec::new();
    for part in parts.iter().filter(|part| !part.entries.is_empty()) {
        let (coder, count) = (part.coder(), part.entries.len());
        match votes.iter_mut().find(|(other, _)| *other == coder) {
            Some((_, votes)) => *votes += count,
            None => votes.push((coder, count)),
        }
    }
    let is_one = votes.len() == 1;
    let most = votes.into_iter().filter_map(|(coder, count)| Some((count, coder?))).max();
    match most {
        None if total < ENOUGH => Choice::None,
        Some((_, coder)) if is_one || !quantized.originals.is_kept() => Choice::Kept(coder),
        _ => Choice::Fitted,
    }
}

/// Encodes all vectors.
fn encode(
    quantized: &Quantized,
    choice: &Choice,
    parts: &[Part<'_>],
    total: usize,
) -> Result<(), IndexError> {
    let mut starts = Vec::with_capacity(parts.len());
    let mut end = 0;
    for part in parts {
        starts.push(end);
        end += part.entries.len();
    }
    let place = |at: usize| {
        let part = starts.partition_point(|&start| start <= at) - 1;
        (&parts[part], parts[part].entries[at - starts[part]].0)
    };
    let coder = match choice {
        Choice::None => return Ok(()),
        Choice::Kept(coder) => coder.clone(),
        Choice::Fitted => {
            let fitted = quantized.train(total, |at, floats| {
                let (part, slot) = place(at);
                part.floats_into(slot, floats);
            });
            let Some(fitted) = fitted else { return Ok(()) };
            fitted
        }
    };
    let same: Vec<bool> = parts.iter().map(|part| part.coder().as_ref() == Some(&coder)).collect();
    quantized.restore(&coder, |blocks| Ok::<_, IndexError>(Column::new(blocks)))?;
    let Some(codes) = quantized.codes() else { return Ok(()) };
    for (part, &same) in parts.iter().zip(&same) {
        let Some(seen) = part.index.entries.codes() else { continue };
        codes.blur.absorb(&seen.blur);
        if same {
            codes.fit.adopt(&seen.fit);
        }
    }
    for (column, codes) in codes.all().enumerate() {
        for (part, &same) in parts.iter().zip(&same) {
            let theirs = part.index.entries.codes().filter(|_| same);
            match theirs.and_then(|theirs| theirs.all().nth(column)) {
                Some(theirs) => copy(&theirs.rows, part, &codes.rows)?,
                None => encode_anew(part, codes)?,
            }
        }
    }
    Ok(())
}

/// Appends the codes of a part as they are.
fn copy(from: &Column<Block>, part: &Part<'_>, to: &Column<Block>) -> Result<(), IndexError> {
    let view = from.view();
    for &(slot, _) in &part.entries {
        to.push(|code| code.copy_from_slice(view.row(slot)))?;
    }
    Ok(())
}

/// Appends codes of a part's vectors.
fn encode_anew(part: &Part<'_>, codes: &Codes) -> Result<(), IndexError> {
    /// Vectors that a thread takes at once.
    const TASK: usize = 256;

    let blocks = codes.coder.code_blocks();
    let mut batch = Vec::new();
    for entries in part.entries.chunks(BATCH) {
        batch.clear();
        batch.resize(entries.len() * blocks, Block::ZERO);
        map_chunks(&mut batch, TASK * blocks, |task, batch| {
            let mut work = CodeWork::default();
            for (code, &(slot, _)) in batch.chunks_exact_mut(blocks).zip(&entries[task * TASK..]) {
                part.floats_into(slot, &mut work.floats);
                codes.coder.encode(&mut work.floats, &mut work.rotated, code);
            }
        });
        for code in batch.chunks_exact(blocks) {
            codes.rows.push(|row| row.copy_from_slice(code))?;
        }
    }
    Ok(())
}
