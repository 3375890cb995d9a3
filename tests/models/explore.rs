//! Schedules: the choice of the next thread among the runnable ones, at each step.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield::model::{Fault, plant};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// A model, over a graph of this seed.
pub(crate) type Model = fn(u64);

/// Graphs that the seeds of schedules cycle through.
const GRAPHS: u64 = 4;

/// Schedules by seed: a seed gives the same schedule in each run, with other seeds or alone. The lowest bits name a graph.
///
/// Three of four are those of probabilistic concurrency testing (Burckhardt et al., 2010): threads have priorities, which
/// change at one to three steps chosen at random, so that a mistake that needs `d` switches is met with a probability of
/// `1 / (n k^(d-1))` for `n` threads and `k` steps. The others switch at random, often or rarely.
struct Seeded {
    next: u64,
    end: u64,
    /// Steps with a choice, in a first run of each graph without switches.
    lengths: [u64; GRAPHS as usize],
    is_measuring: bool,
    at: u64,
    kind: Kind,
    random: u64,
    priorities: HashMap<usize, i64>,
    changes: Vec<u64>,
    running: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
enum Kind {
    Priorities,
    /// Switches at random, once in this number of steps.
    Walk(u64),
}

impl Seeded {
    fn new(seeds: Range<u64>, running: Arc<AtomicU64>) -> Self {
        Self {
            next: seeds.start,
            end: seeds.end,
            lengths: [0; GRAPHS as usize],
            is_measuring: true,
            at: 0,
            kind: Kind::Priorities,
            random: 0,
            priorities: HashMap::new(),
            changes: Vec::new(),
            running,
        }
    }

    /// `SplitMix64` (Steele et al., 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit.max(1)
    }

    fn priority(&mut self, task: TaskId) -> i64 {
        let task = usize::from(task);
        if let Some(&priority) = self.priorities.get(&task) {
            return priority;
        }
        let drawn = (self.draw() >> 1) as i64;
        self.priorities.insert(task, drawn);
        drawn
    }
}

impl Scheduler for Seeded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.next == self.end {
            return None;
        }
        let seed = self.next;
        self.running.store(seed, Ordering::Relaxed);
        let length = self.lengths[(seed % GRAPHS) as usize];
        self.is_measuring = length == 0;
        if !self.is_measuring {
            self.next += 1;
            self.random = seed;
            self.priorities.clear();
            let kind = seed / GRAPHS;
            let changes = kind % 4;
            self.kind = match changes {
                0 => Kind::Walk(2 << (2 * (kind / 4 % 3))),
                _ => Kind::Priorities,
            };
            self.changes = (0..changes).map(|_| self.below(length)).collect();
        }
        self.at = 0;
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        if runnable.len() == 1 {
            return Some(runnable[0].id());
        }
        self.at += 1;
        let stays = current.filter(|id| !is_yielding && runnable.iter().any(|t| t.id() == *id));
        if self.is_measuring {
            self.lengths[(self.next % GRAPHS) as usize] = self.at;
            let first = runnable.iter().map(|t| t.id()).find(|&id| Some(id) != current);
            return stays.or(first);
        }
        match self.kind {
            Kind::Walk(calm) => {
                if let Some(current) = stays
                    && self.below(calm) > 0
                {
                    return Some(current);
                }
                let at = self.below(runnable.len() as u64);
                Some(runnable[at as usize].id())
            }
            Kind::Priorities => {
                let lowers = is_yielding || self.changes.contains(&self.at);
                if let Some(current) = current.filter(|_| lowers) {
                    // The new priority is below all others, including those lowered before.
                    self.priorities.insert(usize::from(current), -(self.at as i64));
                }
                let mut first = None;
                for task in runnable {
                    let priority = self.priority(task.id());
                    if first.is_none_or(|(highest, _)| priority > highest) {
                        first = Some((priority, task.id()));
                    }
                }
                first.map(|(_, id)| id)
            }
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.draw()
    }
}

/// All schedules in which a runnable thread is interrupted at most `bound` times (iterative context
/// bounding, Musuvathi and Qadeer, 2007), and runs to its end otherwise.
struct Bounded {
    bound: usize,
    limit: u64,
    /// The choice at each step with a choice, and the number of alternatives.
    path: Vec<(usize, usize)>,
    at: usize,
    spent: usize,
    ran: u64,
    running: Arc<AtomicU64>,
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.ran > 0 {
            while let Some((taken, options)) = self.path.pop() {
                if taken + 1 < options {
                    self.path.push((taken + 1, options));
                    break;
                }
            }
            if self.path.is_empty() {
                return None;
            }
        }
        if self.ran == self.limit {
            return None;
        }
        self.running.store(self.ran, Ordering::Relaxed);
        self.ran += 1;
        (self.at, self.spent) = (0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let can_go_on = current.filter(|id| !is_yielding && runnable.iter().any(|t| t.id() == *id));
        let others = runnable.iter().map(|t| t.id()).filter(|&id| Some(id) != current);
        let options: Vec<TaskId> = match can_go_on {
            Some(current) if self.spent == self.bound => return Some(current),
            Some(current) => std::iter::once(current).chain(others).collect(),
            None => others.collect(),
        };
        if options.len() < 2 {
            return Some(options.first().copied().unwrap_or(runnable[0].id()));
        }
        if self.at == self.path.len() {
            self.path.push((0, options.len()));
        }
        let (taken, count) = self.path[self.at];
        assert_eq!(count, options.len(), "the same choices lead to the same step");
        self.at += 1;
        self.spent += usize::from(can_go_on.is_some() && taken > 0);
        Some(options[taken])
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(200_000);
    config
}

/// The schedule in which a model failed, and its message.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) schedule: u64,
    pub(crate) reason: String,
}

fn run<S: Scheduler + Send + 'static>(
    scheduler: S,
    running: &AtomicU64,
    fault: Option<Fault>,
    model: impl Fn() + Send + Sync + 'static,
) -> Result<usize, Failure> {
    // A separate thread, so that the traces of a failure end with it.
    let run = move || {
        plant(fault);
        Runner::new(scheduler, config()).run(model)
    };
    std::thread::spawn(run).join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let reason = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        let schedule = running.load(Ordering::Relaxed);
        Failure { schedule, reason: reason.unwrap_or_default() }
    })
}

/// Runs a model in the schedules of these seeds, and returns their number.
pub(crate) fn seeded(
    model: Model,
    seeds: Range<u64>,
    fault: Option<Fault>,
) -> Result<usize, Failure> {
    let running = Arc::new(AtomicU64::new(seeds.start));
    let scheduler = Seeded::new(seeds, Arc::clone(&running));
    let graph = Arc::clone(&running);
    run(scheduler, &running, fault, move || model(graph.load(Ordering::Relaxed) % GRAPHS))
}

/// Runs a model over a graph in all schedules with up to `bound` interruptions, or in the first `limit` of them. Returns their
/// number.
pub(crate) fn bounded(
    model: Model,
    graph: u64,
    bound: usize,
    limit: u64,
) -> Result<usize, Failure> {
    let running = Arc::new(AtomicU64::new(0));
    let scheduler = Bounded {
        bound,
        limit,
        path: Vec::new(),
        at: 0,
        spent: 0,
        ran: 0,
        running: Arc::clone(&running),
    };
    run(scheduler, &running, None, move || model(graph))
}
