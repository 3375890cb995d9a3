//! Samples of the stack by the CPU-time timer, kept by instruction.
//!
//! pprof counts by function: all samples of a function share the inlined frames of the first sample, and a search is one
//! function into which everything is inlined. Here each sample keeps its instruction, so inlined functions get their own samples.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Failure;

/// Requested samples a second; the kernel's tick, often 250 Hz, caps them. The number does not divide usual rates, so that
/// samples do not fall in step.
const FREQUENCY: i64 = 997;
/// Words for stacks: each takes its length and its addresses. Samples that do not fit are dropped and counted.
const WORDS: usize = 1 << 20;
/// The largest number of frames of a stack.
const DEPTH: usize = 96;

static BUFFER: [AtomicUsize; WORDS] = [const { AtomicUsize::new(0) }; WORDS];
static USED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);
/// The bounds of the sampled thread's stack: from, to.
static STACK: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Held while a sampling runs, so that only one runs at a time.
static RUNNING: Mutex<()> = Mutex::new(());

/// A function on the stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    /// Demangled; `?` without a symbol.
    pub(crate) function: String,
    /// Path as given to the compiler; empty if unknown.
    pub(crate) file: String,
}

/// Stacks, innermost function first with the inlined ones, and the number of samples of each.
pub(crate) type Stacks = Vec<(Vec<Frame>, usize)>;

/// Runs `work` on this thread and samples its stack. Other threads are sampled by their innermost function.
pub(crate) fn sample<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<(R, Stacks), Failure> {
    let _one = RUNNING.lock().map_err(|_| "an earlier sampling failed")?;
    let (from, to) = stack_bounds()?;
    STACK[0].store(from, Ordering::Relaxed);
    STACK[1].store(to, Ordering::Relaxed);
    USED.store(0, Ordering::Relaxed);
    DROPPED.store(0, Ordering::Relaxed);
    handle_signals()?;
    set_timer(1_000_000 / FREQUENCY)?;
    let done = work();
    set_timer(0)?;
    let done = done?;
    let dropped = DROPPED.load(Ordering::Relaxed);
    if dropped > 0 {
        eprintln!("{dropped} samples found no room: they are left out");
    }
    let stacks = resolve();
    if stacks.is_empty() {
        return Err("the work was too short to be sampled".into());
    }
    Ok((done, stacks))
}

/// Returns the bounds of this thread's stack.
fn stack_bounds() -> io::Result<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the calling thread exists, and the call initialises `attributes` if it returns 0.
    let error = unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let (mut from, mut size) = (ptr::null_mut(), 0);
    // SAFETY: `attributes` was initialised above, and is not used after it is destroyed.
    let error = unsafe {
        let error = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut from, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        error
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok((from.addr(), from.addr() + size))
}

fn handle_signals() -> io::Result<()> {
    // SAFETY: a `sigaction` of zeros is valid.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the action is valid, and its handler touches only atomics and the stack it interrupted.
    let error = unsafe { libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the timer to a signal each `micros` microseconds of CPU time; 0 stops it.
fn set_timer(micros: i64) -> io::Result<()> {
    let interval = libc::timeval { tv_sec: 0, tv_usec: micros };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the timer is valid, and a null pointer asks for no old timer.
    let error = unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes the interrupted stack to the buffer: no locks, no allocation.
extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the context of the interrupted thread.
    let (ip, sp, mut fp) = unsafe { registers(&*context.cast::<libc::ucontext_t>()) };
    let (from, to) = (STACK[0].load(Ordering::Relaxed), STACK[1].load(Ordering::Relaxed));
    let mut stack = [0; DEPTH];
    stack[0] = ip;
    let mut len = 1;
    let mut above = sp.max(from);
    // Every frame is above the one before it; a register that is no frame pointer ends the chain.
    while len < DEPTH && fp >= above && fp.is_multiple_of(8) && fp + 16 <= to {
        // SAFETY: both words are on this thread's stack, above its stack pointer, so they are mapped: `to` is its end, and
        // `sp` is within it, because only then `fp` can be between them.
        let (next, back) = unsafe {
            let frame = ptr::with_exposed_provenance::<usize>(fp);
            (frame.read(), frame.add(1).read())
        };
        if back == 0 {
            break;
        }
        // The address of the call, not of the instruction after it.
        stack[len] = back - 1;
        len += 1;
        above = fp + 16;
        fp = next;
    }
    let at = USED.fetch_add(len + 1, Ordering::Relaxed);
    if at + len + 1 > WORDS {
        DROPPED.fetch_add(1, Ordering::Relaxed);
        return;
    }
    BUFFER[at].store(len, Ordering::Relaxed);
    for (slot, address) in BUFFER[at + 1..].iter().zip(&stack[..len]) {
        slot.store(*address, Ordering::Relaxed);
    }
}

/// Returns instruction, stack and frame pointer. The frame pointer is 0 if the thread has another stack.
#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> (usize, usize, usize) {
    let of = |register: libc::c_int| context.uc_mcontext.gregs[register as usize] as usize;
    let (sp, fp) = (of(libc::REG_RSP), of(libc::REG_RBP));
    (of(libc::REG_RIP), sp, if on_sampled_stack(sp) { fp } else { 0 })
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> (usize, usize, usize) {
    let machine = &context.uc_mcontext;
    let (sp, fp) = (machine.sp as usize, machine.regs[29] as usize);
    (machine.pc as usize, sp, if on_sampled_stack(sp) { fp } else { 0 })
}

fn on_sampled_stack(sp: usize) -> bool {
    (STACK[0].load(Ordering::Relaxed)..STACK[1].load(Ordering::Relaxed)).contains(&sp)
}

/// Resolves the names of the sampled addresses.
fn resolve() -> Stacks {
    let used = USED.load(Ordering::Relaxed).min(WORDS);
    let mut counts: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut at = 0;
    while at < used {
        let len = BUFFER[at].load(Ordering::Relaxed);
        if len == 0 || at + len >= used {
            break;
        }
        let stack = BUFFER[at + 1..=at + len].iter().map(|slot| slot.load(Ordering::Relaxed));
        *counts.entry(stack.collect()).or_default() += 1;
        at += len + 1;
    }
    let mut names: HashMap<usize, Vec<Frame>> = HashMap::new();
    let mut stacks: HashMap<Vec<Frame>, usize> = HashMap::new();
    for (stack, count) in counts {
        let frames =
            stack.iter().flat_map(|&ip| names.entry(ip).or_insert_with(|| name(ip)).clone());
        *stacks.entry(frames.collect()).or_default() += count;
    }
    let mut stacks: Stacks = stacks.into_iter().collect();
    stacks.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.len().cmp(&b.0.len())));
    stacks
}

/// Returns the functions that an instruction belongs to, the innermost inlined one first.
fn name(ip: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    backtrace::resolve(ptr::without_provenance_mut(ip), |symbol| {
        // `{:#}` leaves the hash out.
        let function = symbol.name().map_or_else(|| "?".to_owned(), |name| format!("{name:#}"));
        let file = symbol.filename().map_or_else(String::new, |file| file.display().to_string());
        frames.push(Frame { function, file });
    });
    if frames.is_empty() {
        frames.push(Frame { function: "?".to_owned(), file: String::new() });
    }
    frames
}

/// Returns a function's name without type parameters: `beam<Space, u32>` as `beam`.
pub(crate) fn bare(name: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0_usize);
    for c in name.chars() {
        match c {
            '<' => depth += 1,
            '>' if !out.ends_with('-') => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => (),
        }
    }
    let out = out.trim_matches(':').replace("::::", "::");
    if out.is_empty() { name.to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[inline(never)]
    fn spin(time: Duration) -> u64 {
        let started = Instant::now();
        let mut sum = 0_u64;
        while started.elapsed() < time {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        sum
    }

    #[test]
    fn samples_name_the_function_and_its_callers() {
        let (_, stacks) = sample(|| Ok(spin(Duration::from_millis(400)))).unwrap();
        // The names have their modules only if debug information is available.
        let named =
            |frames: &[Frame], name: &str| frames.iter().any(|f| f.function.ends_with(name));
        let with_spin = stacks.iter().filter(|(frames, _)| named(frames, "spin"));
        // Threads of other tests are sampled as well.
        let (mut spun, mut called) = (0, 0);
        for (frames, count) in with_spin {
            spun += count;
            called +=
                if named(frames, "samples_name_the_function_and_its_callers") { *count } else { 0 };
        }
        assert!(spun >= 5, "{spun} samples");
        // The clock's own code does not keep a frame pointer everywhere.
        assert!(called * 2 > spun, "{called} of {spun}");
    }

    #[test]
    fn names_without_parameters() {
        assert_eq!(bare("with<Result<(), Error>, F>"), "with");
        assert_eq!(bare("{closure#0}"), "{closure#0}");
        assert_eq!(bare("<A as B>"), "<A as B>");
    }
}
