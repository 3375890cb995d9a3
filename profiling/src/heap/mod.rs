//! Allocations, their sites, and their lifetimes.

mod sites;

use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::{Done, Failure};

pub(crate) use sites::Site;

pub(crate) const HELP: &str = "\
heap [--workload build,search,codes,batch,churn,collection,store] [--dataset DIR] [--top N] [--out FILE.json]
    (with `--features dhat-heap`) Records every allocation of each workload. Prints totals, the peak, allocations
    per operation and the top sites; writes memory/heap-WORKLOAD.json for dh_view.html, which comes with valgrind,
    memory/heap.txt, and the report as JSON. Column storage is mapped, not allocated: it is told apart.";

/// The heap of all measured workloads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Heaps {
    pub(crate) workloads: Vec<Heap>,
}

/// The heap of one workload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Heap {
    pub(crate) workload: String,
    /// The unit of `operations`.
    pub(crate) operation: String,
    pub(crate) operations: u64,
    /// Over the whole work: allocations, and their bytes.
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Blocks and bytes at the moment when most bytes were in use.
    pub(crate) peak_blocks: u64,
    pub(crate) peak_bytes: u64,
    /// At the end of the work.
    pub(crate) end_blocks: u64,
    pub(crate) end_bytes: u64,
    /// The index's own account, maps included; 0 without an index.
    pub(crate) index_bytes: u64,
    /// Places in the code with the most allocations, the most bytes and the largest share of the peak.
    pub(crate) sites: Vec<Site>,
}

/// Returns an error, because only the recording allocator has data to report.
#[cfg(not(feature = "dhat-heap"))]
pub(crate) fn run(_: Args) -> Result<Done, Failure> {
    Err("this needs the recording allocator: add `--features dhat-heap`".into())
}

#[cfg(feature = "dhat-heap")]
pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    use crate::results::{Run, folder, write};
    use crate::workload::{NAMES, named};

    let dataset = args.path("--dataset")?;
    let names = args.text("--workload")?.unwrap_or_else(|| NAMES.join(","));
    let top = args.number("--top", 8, 1..=100)?;
    let out = args.path("--out")?;
    args.finish()?;
    let mut workloads = Vec::new();
    for name in names.split(',') {
        let file = folder("memory").join(format!("heap-{name}.json"));
        std::fs::create_dir_all(folder("memory"))?;
        workloads.push(record(named(name, dataset.as_deref())?.as_mut(), &file, top)?);
        println!("wrote {}", file.display());
    }
    let heaps = Heaps { workloads };
    let text = text(&heaps);
    print!("{text}");
    let path = folder("memory/heap.txt");
    write(&path, &text)?;
    println!("wrote {}", path.display());
    Run::new("heap", heaps).store(out)?;
    Ok(Done::Well)
}

/// Runs one pass of a workload under the recording allocator, which writes `file`.
#[cfg(feature = "dhat-heap")]
fn record(
    workload: &mut dyn crate::workload::Workload,
    file: &std::path::Path,
    top: usize,
) -> Result<Heap, Failure> {
    workload.prepare()?;
    let profiler = dhat::Profiler::builder().file_name(file).trim_backtraces(Some(24)).build();
    let operations = workload.pass()?;
    let stats = dhat::HeapStats::get();
    drop(profiler);
    let index_bytes = match workload.index() {
        Some(index) => index.stats()?.bytes.total() as u64,
        None => 0,
    };
    Ok(Heap {
        workload: workload.name().to_owned(),
        operation: workload.operation().to_owned(),
        operations,
        blocks: stats.total_blocks,
        bytes: stats.total_bytes,
        peak_blocks: stats.max_blocks as u64,
        peak_bytes: stats.max_bytes as u64,
        end_blocks: stats.curr_blocks as u64,
        end_bytes: stats.curr_bytes as u64,
        index_bytes,
        sites: sites::read(&std::fs::read(file)?, top)?,
    })
}

/// Returns the report for people.
#[cfg(feature = "dhat-heap")]
fn text(heaps: &Heaps) -> String {
    use std::fmt::Write;

    let mut out = String::new();
    for heap in &heaps.workloads {
        let each = |count: u64| count as f64 / heap.operations as f64;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\n{}: {} x {}\n  allocations  {} ({:.4} for each {}), {} bytes in all\n  \
             at the peak  {} bytes in {} blocks; at the end {} in {}",
            heap.workload,
            heap.operations,
            heap.operation,
            heap.blocks,
            each(heap.blocks),
            heap.operation,
            heap.bytes,
            heap.peak_bytes,
            heap.peak_blocks,
            heap.end_bytes,
            heap.end_blocks,
        );
        if heap.index_bytes > 0 {
            let _ = writeln!(
                out,
                "  the index    {} bytes by its own account, maps included",
                heap.index_bytes
            );
        }
        for site in &heap.sites {
            let _ = writeln!(
                out,
                "  {:>9} allocations {:>12} bytes {:>12} at the peak  {}",
                site.blocks, site.bytes, site.peak_bytes, site.place
            );
        }
    }
    out
}
