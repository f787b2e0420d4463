//! A few threads that share out the tasks of one job, many thousand jobs a second.
//!
//! A job costs no allocation and about a microsecond: workers spin for the next one, and sleep when none comes. The caller works
//! too, and waits at the end only for workers that are inside a task, so more threads than cores do no harm. Which
//! thread gets which task is chance; results do not depend on it, because tasks write to disjoint memory and no
//! sum crosses tasks. Used by [`super::ops`]; tested below.

use std::{
    any::Any,
    cell::UnsafeCell,
    hint::spin_loop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::*},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

/// A task: called with its number and that of the thread that runs it.
type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Looks for a new job that a worker takes before it sleeps: some 50 µs.
const N_SPINS: usize = 4000;

/// The threads. Dropping it ends them.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Number of the job, times [`JOB`], plus [`OPEN`] while workers may enter, plus the number of workers inside.
    state: AtomicUsize,
    /// The first task that nobody has taken.
    next: AtomicUsize,
    job: UnsafeCell<Job>,
    asleep: Vec<AtomicBool>,
    ended: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const OPEN: usize = 1 << 15;
const JOB: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Job {
    task: *const Task<'static>,
    n_tasks: usize,
}

// SAFETY: `job` is the only field that is not Sync. `Pool::run` writes it while the state says that no job is open and
// nobody is inside; workers read it only after they entered, which orders the read after that write.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is to a `Sync` closure.
unsafe impl Send for Shared {}

impl Pool {
    /// `n_threads` threads, of which the caller of [`run`](Self::run) is one. At least 1, at most 1024.
    pub fn new(n_threads: usize) -> Self {
        let n_workers = n_threads.clamp(1, 1024) - 1;
        let nothing: &'static Task<'static> = &|_, _| ();
        let shared = Arc::new(Shared {
            state: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { task: nothing, n_tasks: 0 }),
            asleep: (0..n_workers).map(|_| AtomicBool::new(false)).collect(),
            ended: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let spawn = |i: usize| {
            let shared = shared.clone();
            // A machine that gives no more threads has fewer workers: the others do their tasks.
            thread::Builder::new().name(format!("halfwarp-{}", i + 1)).spawn(move || shared.work(i)).ok()
        };
        let workers = (0..n_workers).map_while(spawn).collect();
        Self { shared, workers }
    }

    /// Threads, the caller included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(i, thread)` once for every `i < n_tasks`, on all threads, and returns when all are done.
    ///
    /// # Panics
    /// If a task does, with its message.
    pub fn run(&mut self, n_tasks: usize, task: &Task) {
        if self.workers.is_empty() || n_tasks <= 1 {
            return (0..n_tasks).for_each(|i| task(i, 0));
        }
        let shared = &*self.shared;
        // SAFETY: the transmute changes the lifetime alone. Workers use the reference only while inside the job, and
        // this function does not return, nor unwind, before the job is closed and nobody is inside.
        let task = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        // SAFETY: `&mut self` says that no other job runs, and the last one ended with nobody inside and the state
        // closed; so nobody reads.
        unsafe { *shared.job.get() = Job { task, n_tasks } };
        shared.next.store(0, Relaxed);
        shared.state.fetch_add(JOB + OPEN, SeqCst);
        for (asleep, worker) in shared.asleep.iter().zip(&self.workers) {
            if asleep.load(SeqCst) && asleep.swap(false, SeqCst) {
                Thread::unpark(worker.thread());
            }
        }
        shared.take_tasks(task, n_tasks, 0);
        shared.state.fetch_sub(OPEN, AcqRel);
        shared.wait_until_empty();
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(message) = panic {
            resume_unwind(message);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Tasks' panics were caught, so workers end without one.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn take_tasks(&self, task: &Task, n_tasks: usize, thread: usize) {
        let run = || {
            loop {
                let i = self.next.fetch_add(1, Relaxed);
                if i >= n_tasks {
                    break;
                }
                task(i, thread);
            }
        };
        if let Err(message) = catch_unwind(AssertUnwindSafe(run)) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        }
    }

    fn wait_until_empty(&self) {
        let mut n_spins = 0;
        while !self.state.load(Acquire).is_multiple_of(OPEN) {
            n_spins += 1;
            if n_spins < N_SPINS { spin_loop() } else { thread::yield_now() }
        }
    }

    /// What worker `index` does.
    fn work(&self, index: usize) {
        let mut last = 0;
        while let Some(state) = self.next_job(index, last) {
            last = state / JOB;
            if !self.enter(state) {
                continue;
            }
            // SAFETY: this thread is inside, so the job is the one that was written before the state was opened, and
            // its closure lives until this thread has left.
            let Job { task, n_tasks } = unsafe { *self.job.get() };
            // SAFETY: as above.
            self.take_tasks(unsafe { &*task }, n_tasks, index + 1);
            self.state.fetch_sub(1, Release);
        }
    }

    /// Waits for a job other than `last`; `None` when the pool ends.
    fn next_job(&self, index: usize, last: usize) -> Option<usize> {
        loop {
            for _ in 0..N_SPINS {
                let state = self.state.load(Acquire);
                if state / JOB != last {
                    return Some(state);
                }
                if self.ended.load(Relaxed) {
                    return None;
                }
                spin_loop();
            }
            self.asleep[index].store(true, SeqCst);
            if self.state.load(SeqCst) / JOB == last && !self.ended.load(SeqCst) {
                // The time limit is a belt over the braces: `run` and `drop` wake every worker that sleeps.
                thread::park_timeout(Duration::from_secs(1));
            }
            self.asleep[index].store(false, SeqCst);
        }
    }

    /// Enters the job that `state` shows, unless it is closed by now.
    fn enter(&self, mut state: usize) -> bool {
        let job = state / JOB;
        while state / JOB == job && state & OPEN != 0 {
            match self.state.compare_exchange_weak(state, state + 1, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_in_each_of_many_jobs() {
        // More threads than most machines have cores.
        for n_threads in [1, 2, 3, 16] {
            let mut pool = Pool::new(n_threads);
            for job in 0..2000 {
                let n_tasks = job % 37;
                let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(n_tasks, &|i, thread| {
                    assert!(thread < n_threads);
                    counts[i].fetch_add(1, Relaxed);
                });
                assert!(
                    counts.iter().all(|c| c.load(Relaxed) == 1),
                    "{n_threads} threads, job {job}: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn threads_that_sleep_are_woken() {
        let mut pool = Pool::new(2);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(3));
            // Ends only when two threads are inside at once.
            let n_inside = AtomicUsize::new(0);
            pool.run(2, &|_, _| {
                n_inside.fetch_add(1, SeqCst);
                while n_inside.load(SeqCst) < 2 {
                    thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_of_a_task_reaches_the_caller_and_the_pool_goes_on() {
        let mut pool = Pool::new(3);
        for _ in 0..50 {
            let run = AssertUnwindSafe(|| pool.run(8, &|i, _| assert!(i != 5, "task {i}")));
            let message = catch_unwind(run).unwrap_err();
            assert_eq!(message.downcast_ref::<String>().map(String::as_str), Some("task 5"));
            let n_run = AtomicUsize::new(0);
            pool.run(8, &|_, _| {
                n_run.fetch_add(1, Relaxed);
            });
            assert_eq!(n_run.load(Relaxed), 8);
        }
    }
}
