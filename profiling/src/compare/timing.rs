//! Time of two builds, measured so that a busy machine does not decide: on the thread's own clock, in short steps that
//! alternate, in many processes, because the layout of its memory makes each process faster or slower.
//!
//! A *trial* is three processes: the base, the new build, and the new build once more as the control, which shows
//! differences between equal builds. Each round is one step of each, in another order, because a process that runs after
//! itself finds its data in the caches. A trial's result is the median over its rounds of the logarithm of the
//! ratio; the interval is computed over the trials.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::process::Process;
use crate::Failure;
use crate::stats::{Estimate, median};

/// Rounds of a trial that are measured, after a warm-up: every order equally often, in every naming of the
/// processes. With one naming only, the median ratio favours the process that was idle for less time in most of the rounds: 1 %
/// was measured between processes of one build.
const ROUNDS: usize = 3 * ORDERS.len() * ORDERS.len();
const WARM_UP: usize = ORDERS.len();

/// Orders of base, new and control within a round, and orders in which they are started.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

/// The initial trials; `MORE_TRIALS` are added while an interval is too wide, up to `MOST_TRIALS`.
const TRIALS: usize = 2 * ORDERS.len();
const MORE_TRIALS: usize = ORDERS.len();
const MOST_TRIALS: usize = 4 * ORDERS.len();

/// Half the length of an interval that is sharp enough, in per cent.
const SHARP: f64 = 1.0;

/// The change of a workload's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) workload: String,
    /// Microseconds of a step, base and new: medians over everything.
    pub(crate) micros: [f64; 2],
    /// From base to new, in per cent of the base; more is slower.
    pub(crate) change: Estimate,
    /// From new to new.
    pub(crate) control: Estimate,
    pub(crate) trials: usize,
}

/// The results of the trials, by workload.
struct Samples {
    workload: String,
    change: Vec<f64>,
    control: Vec<f64>,
    base: Vec<f64>,
    new: Vec<f64>,
}

/// Measures all workloads that both builds have. Also returns the share of time that workers waited for a core.
pub(super) fn measure(
    base: &Path,
    new: &Path,
    data: &Path,
    short: bool,
) -> Result<(Vec<Timing>, f64), Failure> {
    let mut all: Vec<Samples> = Vec::new();
    let (mut waits, mut trials, mut wanted) = (Vec::new(), 0, TRIALS);
    loop {
        while trials < wanted {
            // The memory layout of a process depends on its place in the order of starts.
            let mut started = [None, None, None];
            for role in ORDERS[trials % ORDERS.len()] {
                started[role] = Some(Process::start([base, new, new][role], data, short)?);
            }
            let [Some(mut base), Some(mut new), Some(mut control)] = started else {
                return Err("an order leaves out a process".into());
            };
            for process in [&mut base, &mut new, &mut control] {
                process.wait_until_ready()?;
            }
            let mut processes = [base, new, control];
            trial(&mut processes, &mut all)?;
            waits.extend(processes.iter().filter_map(Process::queue_wait));
            trials += 1;
        }
        let timings: Vec<Timing> = all.iter().map(Samples::timing).collect();
        let widest = timings
            .iter()
            .flat_map(|t| [t.change.half_width(), t.control.half_width()])
            .fold(0.0, f64::max);
        eprintln!("{trials} trials; the widest interval is +-{widest:.2} %");
        if widest <= SHARP || trials >= MOST_TRIALS {
            return Ok((timings, median(&waits)));
        }
        wanted = (trials + MORE_TRIALS).min(MOST_TRIALS);
    }
}

/// Returns the order of the processes in a round.
fn order(round: usize) -> [usize; 3] {
    let names = ORDERS[round / ORDERS.len() % ORDERS.len()];
    ORDERS[round % ORDERS.len()].map(|at| names[at])
}

fn trial(processes: &mut [Process; 3], all: &mut Vec<Samples>) -> Result<(), Failure> {
    for (number, workload) in processes[1].workloads.clone().into_iter().enumerate() {
        let Some(in_base) = processes[0].workloads.iter().position(|name| *name == workload) else {
            continue;
        };
        let numbers = [in_base, number, number];
        let mut logs: [Vec<f64>; 2] = Default::default();
        let mut times: [Vec<f64>; 2] = Default::default();
        for round in 0..WARM_UP + ROUNDS {
            let mut step = [0.0; 3];
            for at in order(round) {
                step[at] = processes[at].step(numbers[at])?;
            }
            if round >= WARM_UP {
                logs[0].push((step[1] / step[0]).ln());
                logs[1].push((step[2] / step[1]).ln());
                times[0].push(step[0] / 1e3);
                times[1].push(step[1] / 1e3);
            }
        }
        let at = all.iter().position(|s| s.workload == workload).unwrap_or_else(|| {
            let [change, control, base, new] = Default::default();
            all.push(Samples { workload, change, control, base, new });
            all.len() - 1
        });
        all[at].change.push(median(&logs[0]));
        all[at].control.push(median(&logs[1]));
        all[at].base.push(median(&times[0]));
        all[at].new.push(median(&times[1]));
    }
    Ok(())
}

impl Samples {
    fn timing(&self) -> Timing {
        Timing {
            workload: self.workload.clone(),
            micros: [median(&self.base), median(&self.new)],
            change: Estimate::of(&self.change).log_to_percent(),
            control: Estimate::of(&self.control).log_to_percent(),
            trials: self.change.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In each pair of processes, each is idle for longer than the other in the same number of rounds.
    #[test]
    fn no_process_is_favoured() {
        let (mut last, mut now) = ([0; 3], 0);
        let mut longer = [[0; 3]; 3];
        // The first cycle is not counted, because its rounds have no rounds before them.
        let cycle = ORDERS.len() * ORDERS.len();
        for round in 0..2 * cycle {
            let mut idle = [0; 3];
            for at in order(round) {
                now += 1;
                idle[at] = now - last[at];
                last[at] = now;
            }
            for (a, b) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                longer[a][b] += usize::from(round >= cycle && idle[a] > idle[b]);
            }
        }
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            assert_eq!(longer[a][b], longer[b][a], "{longer:?}");
        }
        let mut orders: Vec<_> = (0..cycle).map(order).collect();
        orders.sort_unstable();
        assert!(orders.chunk_by(|a, b| a == b).all(|same| same.len() == ORDERS.len()));
    }
}
