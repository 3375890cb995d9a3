//! One page that shows the stored results.

mod chart;
mod html;
mod living;
mod peers;
pub(crate) mod picture;
mod sections;
mod speed;

use crate::args::Args;
use crate::compare::Comparison;
use crate::curve::Curves;
use crate::host::Host;
use crate::results::{Run, folder, stored, write};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
report [--out FILE.html]
    Writes reports/index.html from the newest stored run of each kind: one page, no network, no script.";

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let out = args.path("--out")?.unwrap_or_else(|| folder("reports/index.html"));
    args.finish()?;
    let curves: Vec<Run<Curves>> = stored("curve");
    let comparisons: Vec<Run<Comparison>> = stored("compare");
    let (kernels, store) = (stored("kernels"), stored("store"));
    let (heaps, soaks, advice) = (stored("heap"), stored("soak"), stored("advise"));
    let peers = peers::read()?;
    let sections = [
        sections::comparison(comparisons.last()),
        sections::advice(advice.last()),
        speed::curves(curves.last(), peers.as_ref()),
        speed::trade(curves.last()),
        speed::latencies(curves.last()),
        sections::memory(curves.last()),
        sections::kernels(kernels.last()),
        sections::store(store.last()),
        sections::heap(heaps.last(), soaks.last()),
        living::section(),
        speed::trend(&curves),
        sections::peers(peers.as_ref()),
        sections::files(),
    ];
    if sections[..11].iter().all(String::is_empty) {
        return Err("there are no stored runs: try `scripts/benchmark_all.sh --quick` first".into());
    }
    let newest = curves.last().map(|run| (&run.time, &run.commit, &run.host));
    let newest = newest.or(comparisons.last().map(|run| (&run.time, &run.commit, &run.host)));
    let head = newest.map_or_else(
        || "<h1>nearfield: profiling report</h1>".to_owned(),
        |(time, commit, host)| head(time, commit, host, comparisons.last()),
    );
    write(&out, &html::page(&head, &sections))?;
    println!("wrote {}", out.display());
    Ok(Done::Well)
}

fn head(time: &str, commit: &str, host: &Host, comparison: Option<&Run<Comparison>>) -> String {
    let verdict = comparison.map_or_else(String::new, |run| {
        format!("<p>Against the baseline: {}</p>", sections::badge(run.result.verdict))
    });
    format!(
        "<h1>nearfield: profiling report</h1>{verdict}<p class=host>{time}, commit {commit}. {}, {} cores, {}, Linux {}. \
         Load {:.1}; this process waited {:.0} % of its time for a core, the hypervisor took {:.1} %. Huge pages: {}.</p>",
        html::escape(&host.cpu),
        host.cores,
        host.isa,
        html::escape(&host.kernel),
        host.load1,
        100.0 * host.queue_wait,
        100.0 * host.steal,
        html::escape(&host.huge_pages)
    )
}
