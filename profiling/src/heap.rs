//! What is allocated, where and how long.

use std::error::Error;

use crate::Options;

/// Without the recording allocator there is nothing to report.
#[cfg(not(feature = "dhat-heap"))]
pub(crate) fn run(_: &Options) -> Result<(), Box<dyn Error>> {
    Err("this needs the recording allocator: add `--features dhat-heap`".into())
}

/// Records the allocations of building and of a second of searching.
#[cfg(feature = "dhat-heap")]
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let out = options.out("memory/heap.json")?;
    let workload = crate::workload::Workload::load(options.dataset.as_deref())?;
    let profiler = dhat::Profiler::builder().file_name(&out).build();
    let index = workload.build()?;
    let built = dhat::HeapStats::get();
    let answered = workload.search(&index, std::time::Duration::from_secs(1))?;
    let searched = dhat::HeapStats::get();
    println!(
        "building: {} allocations, {} bytes in all, {} at the peak",
        built.total_blocks, built.total_bytes, built.max_bytes
    );
    println!(
        "searching: {} allocations for {answered} queries",
        searched.total_blocks - built.total_blocks
    );
    println!("index: {} bytes, maps included", index.stats().bytes.total());
    drop(profiler);
    println!("wrote {}", out.display());
    Ok(())
}
