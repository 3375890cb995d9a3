//! Known causes of lost time and memory. A cause gives a finding only if a measurement shows it, and adds the figures.

use serde::{Deserialize, Serialize};

use super::measure::Facts;

/// A cause found, and a suggestion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) cause: String,
    pub(crate) evidence: String,
    pub(crate) suggestion: String,
}

/// A cause, which returns a finding or `None`.
type Cause = fn(&Facts) -> Option<Finding>;

const CAUSES: [Cause; 12] = [
    memory_bound,
    capped_instruction_set,
    kernel_not_vectorised,
    page_faults,
    no_huge_pages,
    allocations,
    too_much_ef,
    too_little_recall,
    exact_as_bytes,
    contention,
    lock_waits,
    codes_would_do,
];

/// Returns all findings of the facts.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    CAUSES.iter().chain(&PROFILED).filter_map(|cause| cause(facts)).collect()
}

const PROFILED: [Cause; 5] = [pruning, rerank, sweeping, own_memory_of_commits, checksums];

fn finding(cause: &str, evidence: String, suggestion: &str) -> Finding {
    Finding { cause: cause.to_owned(), evidence, suggestion: suggestion.to_owned() }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn memory_bound(f: &Facts) -> Option<Finding> {
    let waits = 1.0 - f.again_us / f.first_us;
    (waits >= 0.2).then(|| {
        finding(
            "the walk waits for memory",
            format!(
                "a search takes {:.1} us, the same one asked again at once, with all its rows in the caches, {:.1} us: {} is waiting. \
                 A distance costs {:.1} ns in the walk and {:.1} ns where rows are in the caches",
                f.first_us,
                f.again_us,
                percent(waits),
                1e3 * f.first_us / f.distances,
                f.kernel_ns
            ),
            "read fewer bytes: a smaller element type (`element(Element::F16)`) or a quantised walk; \
             search in batches; in the code: prefetches in `src/graph/search/walk.rs` (`gather`)",
        )
    })
}

fn capped_instruction_set(f: &Facts) -> Option<Finding> {
    (f.isa != f.best_isa).then(|| {
        finding(
            "the CPU can do more than is used",
            format!("kernels use {}, the CPU has {}", f.isa, f.best_isa),
            "take `NEARFIELD_SIMD` out of the environment, and `isa(...)` off the builder",
        )
    })
}

fn kernel_not_vectorised(f: &Facts) -> Option<Finding> {
    let gain = f.scalar_ns / f.kernel_ns;
    (f.isa != nearfield::Isa::Scalar && gain < 1.3).then(|| {
        finding(
            "the kernel gains nothing from vectors",
            format!(
                "a distance takes {:.1} ns with {} and {:.1} ns in plain Rust",
                f.kernel_ns, f.isa, f.scalar_ns
            ),
            "look at the kernel's code (`perf annotate`): `src/distance/` and `src/simd/`",
        )
    })
}

fn page_faults(f: &Facts) -> Option<Finding> {
    (f.faults >= 0.1).then(|| {
        finding(
            "searches fault pages in",
            format!("{:.2} page faults in each search of a warm index", f.faults),
            "scratch memory is given back and taken again: look for allocations of whole pages in the search path",
        )
    })
}

fn no_huge_pages(f: &Facts) -> Option<Finding> {
    const WORTH: u64 = 8 << 20;
    let share = f.huge_bytes as f64 / f.index_bytes as f64;
    (f.index_bytes >= WORTH && share < 0.5).then(|| {
        finding(
            "the index is in small pages",
            format!(
                "{} of its {:.0} MiB are in huge pages; /sys/kernel/mm/transparent_hugepage/enabled says '{}'",
                percent(share),
                f.index_bytes as f64 / 1024.0 / 1024.0,
                f.huge_pages
            ),
            "let the system give them: `echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`",
        )
    })
}

fn allocations(f: &Facts) -> Option<Finding> {
    (f.allocations > 0.0).then(|| {
        finding(
            "searches allocate",
            format!("{:.3} allocations in each search of a warm index", f.allocations),
            "`profiling heap --workload search` names the places; `k` above 32 needs one if hits are not reused (`run_into`)",
        )
    })
}

fn too_much_ef(f: &Facts) -> Option<Finding> {
    let [half, full, _] = f.recalls;
    (full - half < 0.001).then(|| {
        finding(
            "ef is higher than it needs to be",
            format!(
                "recall is {half:.4} at ef {} and {full:.4} at ef {}, which computes {} more distances",
                f.ef / 2,
                f.ef,
                percent(f.costs[1] / f.costs[0] - 1.0)
            ),
            "lower `ef`",
        )
    })
}

fn too_little_recall(f: &Facts) -> Option<Finding> {
    let [_, full, double] = f.recalls;
    (full < 0.95 && double - full >= 0.005).then(|| {
        finding(
            "ef is low for this data",
            format!(
                "recall is {full:.4} at ef {} and {double:.4} at ef {}, which computes {} more distances",
                f.ef,
                f.ef * 2,
                percent(f.costs[2] / f.costs[1] - 1.0)
            ),
            "raise `ef`, or `m` if recall stays low at any `ef`",
        )
    })
}

fn exact_as_bytes(f: &Facts) -> Option<Finding> {
    let (micros, bytes) = f.as_bytes?;
    Some(finding(
        "vectors are whole numbers kept as floats",
        format!(
            "all components are whole numbers from 0 to 255; as bytes a search takes {micros:.1} us instead of {:.1} us \
             and a vector {bytes:.0} bytes instead of {:.0}",
            f.first_us, f.bytes_per_vector
        ),
        "`element(Element::U8)`: the same distances, exactly",
    ))
}

fn contention(f: &Facts) -> Option<Finding> {
    (f.threads > 1 && f.build_overhead >= 1.25).then(|| {
        finding(
            "threads that build are in each other's way",
            format!(
                "building takes {} more CPU time on {} threads than on one",
                percent(f.build_overhead - 1.0),
                f.threads
            ),
            "locks of rows and shared cache lines: `src/graph/link/connect.rs`; cores that share their caches do the same",
        )
    })
}

fn lock_waits(f: &Facts) -> Option<Finding> {
    (f.threads > 1 && f.build_waits >= 0.2).then(|| {
        finding(
            "threads that build wait for locks",
            format!(
                "a thread goes to sleep {:.2} times for each insertion on {} threads",
                f.build_waits, f.threads
            ),
            "look for a lock that is held over distances: `src/graph/link/connect.rs`, `src/index/entries/mod.rs`",
        )
    })
}

fn codes_would_do(f: &Facts) -> Option<Finding> {
    let (micros, recall) = f.by_codes?;
    let full = f.recalls[1];
    (micros <= 0.75 * f.first_us && recall >= full - 0.005).then(|| {
        finding(
            "the walk reads vectors where codes would do",
            format!(
                "with codes of 4 bits a search takes {micros:.1} us instead of {:.1} us, and recall is {recall:.4} instead of {full:.4}",
                f.first_us
            ),
            "`quantization(Quantization::Auto)`: codes guide the walk, vectors order the answers",
        )
    })
}

/// Reports reranking of the nearest candidates of a walk by the vectors.
fn rerank(f: &Facts) -> Option<Finding> {
    let share = f.codes.share_within("src/index/codes/rerank.rs");
    (share >= 0.2).then(|| {
        finding(
            "a walk on codes spends its time on measuring again",
            format!("{} of {} samples of searches by codes are in src/index/codes/rerank.rs or below", percent(share), f.codes.samples),
            "rerank less deep (`Head::depth`), or keep vectors as `Element::F16`; codes of 8 bits need less of it",
        )
    })
}

/// Reports the removal of the last links to removed vectors: each sweep reads all rows.
fn sweeping(f: &Facts) -> Option<Finding> {
    let share = f.churn.share_within("src/graph/removal/sweep.rs");
    (share >= 0.25).then(|| {
        finding(
            "changes spend their time on sweeping",
            format!(
                "{} of {} samples of changes are in src/graph/removal/sweep.rs or below",
                percent(share),
                f.churn.samples
            ),
            "call `maintain` after more removals; each time it reads every row of the graph",
        )
    })
}

/// Reports the copies that a collection makes, which are the system's work.
fn own_memory_of_commits(f: &Facts) -> Option<Finding> {
    let share = f.collection.share_within("src/arena/overlay.rs");
    (share >= 0.15).then(|| {
        finding(
            "a collection spends its time on moving chunks between file and memory",
            format!(
                "{} of {} samples of transactions are in src/arena/overlay.rs or below",
                percent(share),
                f.collection.samples
            ),
            "fewer, longer transactions; a later checkpoint (`CollectionBuilder::checkpoint_after`)",
        )
    })
}

fn pruning(f: &Facts) -> Option<Finding> {
    let share = f.build.share_of("src/graph/rows/prune.rs");
    (share >= 0.3).then(|| {
        finding(
            "building spends its time on pruning",
            format!("{} of {} samples of building are in src/graph/rows/prune.rs", percent(share), f.build.samples),
            "lower `ef_construction` or `m`; each candidate is compared with every neighbour that was chosen",
        )
    })
}

fn checksums(f: &Facts) -> Option<Finding> {
    let share = f.store.share_of("src/store/format/page.rs");
    (share >= 0.2).then(|| {
        finding(
            "the store spends its time on checksums",
            format!(
                "{} of {} samples of the store are in src/store/format/page.rs",
                percent(share),
                f.store.samples
            ),
            "smaller pages (`page_size`), or more records in a commit",
        )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::hot::Profile;
    use super::*;
    use nearfield::Isa;

    /// Returns the facts of an index without a cause.
    fn healthy() -> Facts {
        Facts {
            build: Profile::default(),
            search: Profile::default(),
            codes: Profile::default(),
            churn: Profile::default(),
            collection: Profile::default(),
            store: Profile::default(),
            first_us: 30.0,
            again_us: 28.0,
            distances: 700.0,
            kernel_ns: 8.0,
            scalar_ns: 60.0,
            isa: Isa::Avx2,
            best_isa: Isa::Avx2,
            ef: 64,
            recalls: [0.95, 0.98, 0.99],
            costs: [400.0, 700.0, 1200.0],
            allocations: 0.0,
            faults: 0.0,
            index_bytes: 64 << 20,
            huge_bytes: 60 << 20,
            huge_pages: "madvise".into(),
            threads: 2,
            build_overhead: 1.05,
            build_waits: 0.01,
            by_codes: Some((25.0, 0.97)),
            bytes_per_vector: 660.0,
            as_bytes: None,
        }
    }

    #[test]
    fn nothing_is_said_without_evidence() {
        assert_eq!(all(&healthy()), []);
    }

    #[test]
    fn each_cause_is_found_by_its_own_evidence() {
        let found = |change: fn(&mut Facts)| {
            let mut facts = healthy();
            change(&mut facts);
            let found = all(&facts);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].cause.clone()
        };
        assert!(found(|f| f.again_us = 15.0).contains("waits for memory"));
        assert!(found(|f| f.best_isa = Isa::Avx512).contains("CPU can do more"));
        assert!(found(|f| f.scalar_ns = 9.0).contains("nothing from vectors"));
        assert!(found(|f| f.faults = 1.0).contains("fault pages"));
        assert!(found(|f| f.huge_bytes = 0).contains("small pages"));
        assert!(found(|f| f.allocations = 1.0).contains("allocate"));
        assert!(found(|f| f.recalls[0] = 0.9795).contains("higher than it needs"));
        assert!(found(|f| f.recalls = [0.7, 0.8, 0.9]).contains("low for this data"));
        assert!(found(|f| f.as_bytes = Some((12.0, 280.0))).contains("whole numbers"));
        assert!(found(|f| f.build_overhead = 1.5).contains("each other's way"));
        assert!(found(|f| f.build_waits = 0.5).contains("wait for locks"));
        assert!(found(|f| f.by_codes = Some((12.0, 0.978))).contains("codes would do"));
        let hot = |file: &str| Profile::of_one(file, 0.4);
        let mut facts = healthy();
        facts.build = hot("src/graph/rows/prune.rs");
        facts.codes = hot("src/index/codes/rerank.rs");
        facts.churn = hot("src/graph/removal/sweep.rs");
        facts.collection = hot("src/arena/overlay.rs");
        facts.store = hot("src/store/format/page.rs");
        let causes: Vec<_> = all(&facts).into_iter().map(|f| f.cause).collect();
        let expected = ["pruning", "measuring again", "sweeping", "moving chunks", "checksums"];
        assert_eq!(causes.len(), expected.len(), "{causes:?}");
        for (cause, part) in causes.iter().zip(expected) {
            assert!(cause.contains(part), "{causes:?}");
        }
    }
}
