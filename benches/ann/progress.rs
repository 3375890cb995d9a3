//! A progress bar on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Minimum time between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows the progress of a long task: a bar on a terminal, else a line each quarter.
pub(crate) struct Bar {
    title: String,
    total: usize,
    started: Instant,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    drawn: Instant,
    quarter: usize,
}

impl Bar {
    pub(crate) fn new(title: String, total: usize) -> Self {
        let started = Instant::now();
        let state = Mutex::new(State { drawn: started, quarter: 0 });
        Self { title, total, started, terminal: stderr().is_terminal(), state }
    }

    /// Shows the finished share. Any thread may call it; if another thread is drawing, it returns at once.
    pub(crate) fn show(&self, done: usize) {
        let Ok(mut state) = self.state.try_lock() else { return };
        if self.terminal {
            if state.drawn.elapsed() >= INTERVAL {
                state.drawn = Instant::now();
                self.draw(done);
            }
        } else {
            let quarter = 4 * done / self.total;
            if quarter > state.quarter && quarter < 4 {
                state.quarter = quarter;
                eprintln!("{} {}%", self.title, 25 * quarter);
            }
        }
    }

    /// Replaces the bar by a line with the time of the task.
    pub(crate) fn finish(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let rate = self.total as f64 / seconds;
        eprintln!("{clear}{}: {} vectors in {seconds:.2} s, {rate:.0}/s", self.title, self.total);
    }

    fn draw(&self, done: usize) {
        const WIDTH: usize = 32;
        let share = done as f64 / self.total as f64;
        let full = (share * WIDTH as f64) as usize;
        let elapsed = self.started.elapsed().as_secs_f64();
        let rest = elapsed * (1.0 - share) / share.max(1e-9);
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH - full));
        let percent = 100.0 * share;
        eprint!("\r\x1b[K{} [{bar}] {percent:3.0}%  {rest:.0} s left", self.title);
        // A closed terminal is no reason to stop.
        let _ = stderr().flush();
    }
}
