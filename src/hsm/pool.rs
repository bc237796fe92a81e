//! The queue before a module: callers wait here, never inside; threads that hang are replaced.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

use super::breaker::{Admission, Breaker};
use super::error::HsmError;
use super::life::{Token, lock};
use super::worker::Worker;
use crate::keys::WrappedSecret;
use crate::secret::Secret;

/// Takes orders and answers them within the deadline, whatever the module does.
pub(super) struct Pool {
    core: Arc<Core>,
    orders: Arc<Sender<Job>>,
    queue: Receiver<Job>,
    crew: Mutex<Crew>,
}

pub(super) enum Order {
    /// Log in and find the keys.
    Start,
    Wrap(u32, Secret<32>),
    Unwrap(u32, WrappedSecret),
    Rewrap(u32, u32, WrappedSecret),
    Random,
    Health,
}

pub(super) enum Answer {
    Done,
    Blob(WrappedSecret),
    Secret(Secret<32>),
}

pub(super) struct Core {
    pub(super) token: Arc<Token>,
    pub(super) breaker: Breaker,
    /// For a worker that finds no session to hand its job to one that has; empty once nobody asks.
    pub(super) orders: Weak<Sender<Job>>,
    pub(super) closing: AtomicBool,
    pub(super) started: Instant,
    pub(super) hung: AtomicU64,
    /// Callers that left at their deadline since the last answer.
    pub(super) timeouts: AtomicU64,
    /// Sessions of all workers.
    pub(super) sessions: AtomicUsize,
}

pub(super) struct Job {
    pub(super) order: Order,
    pub(super) admission: Admission,
    pub(super) deadline: Instant,
    pub(super) reply: Sender<Result<Answer, HsmError>>,
}

#[derive(Default)]
struct Crew {
    at_work: Vec<Member>,
    /// Threads given up: they hang in the module, and end when they return from it.
    lost: Vec<JoinHandle<()>>,
}

struct Member {
    thread: JoinHandle<()>,
    desk: Arc<Desk>,
}

/// What others see of a worker.
#[derive(Default)]
pub(super) struct Desk {
    /// When its job must be done, in milliseconds since the start, plus one; 0 without a job.
    pub(super) busy_until: AtomicU64,
    pub(super) given_up: AtomicBool,
}

impl Pool {
    pub(super) fn start(token: Arc<Token>) -> Result<Self, HsmError> {
        let sessions = token.config.sessions.clamp(1, MAX_SESSIONS);
        let (orders, queue) = bounded(sessions * QUEUE_PER_SESSION);
        let orders = Arc::new(orders);
        let core = Arc::new(Core {
            token,
            breaker: Breaker::new(),
            orders: Arc::downgrade(&orders),
            closing: AtomicBool::new(false),
            started: Instant::now(),
            hung: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
        });
        let pool = Self {
            core,
            orders,
            queue,
            crew: Mutex::default(),
        };
        // The first worker alone wins the first life; the others then open their sessions at once.
        pool.hire(1)?;
        pool.ask_within(
            Order::Start,
            pool.core.token.config.deadline * START_DEADLINES,
        )?;
        pool.hire(sessions)?;
        Ok(pool)
    }

    pub(super) fn token(&self) -> &Token {
        &self.core.token
    }

    /// Whether the breaker is open: the module is being left alone for a moment.
    pub(super) fn is_open(&self) -> bool {
        self.core.breaker.reason().is_some()
    }

    /// Threads lost in the module so far.
    pub(super) fn hung(&self) -> u64 {
        self.core.hung.load(Ordering::Relaxed)
    }

    pub(super) fn ask(&self, order: Order) -> Result<Answer, HsmError> {
        self.ask_within(order, self.core.token.config.deadline)
    }

    fn ask_within(&self, order: Order, patience: Duration) -> Result<Answer, HsmError> {
        let admission = self.core.breaker.admit(patience)?;
        let function = order.function();
        let deadline = Instant::now() + patience;
        let (reply, answer) = bounded(1);
        let job = Job {
            order,
            admission,
            deadline,
            reply,
        };
        match self.orders.send_deadline(job, deadline) {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Disconnected(_)) => {
                return Err(self.too_late(function));
            }
        }
        match answer.recv_deadline(deadline) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(self.too_late(function))
            }
        }
    }

    /// Replaces workers that hang, and says so.
    fn too_late(&self, function: &'static str) -> HsmError {
        let error = too_late(&self.core.token, function);
        let mut crew = lock(&self.crew);
        crew.lost.retain(|thread| !thread.is_finished());
        let now = self.core.now();
        let members = std::mem::take(&mut crew.at_work);
        let wanted = members.len();
        for member in members {
            let until = member.desk.busy_until.load(Ordering::Acquire);
            if member.thread.is_finished() {
                continue;
            }
            if until != 0 && now + 1 >= until && crew.lost.len() < MAX_LOST {
                member.desk.given_up.store(true, Ordering::Release);
                self.core.hung.fetch_add(1, Ordering::Relaxed);
                crew.lost.push(member.thread);
                continue;
            }
            crew.at_work.push(member);
        }
        drop(crew);
        let in_a_row = self.core.timeouts.fetch_add(1, Ordering::Relaxed) + 1;
        if self.hire(wanted).is_err() || self.all_hang(now) || in_a_row >= TIMEOUTS_IN_A_ROW {
            self.core.breaker.trip(error.clone());
        }
        error
    }

    fn all_hang(&self, now: u64) -> bool {
        lock(&self.crew).at_work.iter().all(|member| {
            let until = member.desk.busy_until.load(Ordering::Acquire);
            until != 0 && now + 1 >= until
        })
    }

    fn hire(&self, wanted: usize) -> Result<(), HsmError> {
        let mut crew = lock(&self.crew);
        while crew.at_work.len() < wanted {
            let desk = Arc::new(Desk::default());
            let worker = Worker::new(Arc::clone(&self.core), Arc::clone(&desk));
            let queue = self.queue.clone();
            let thread = std::thread::Builder::new()
                .name("hsm-session".to_owned())
                .spawn(move || worker.run(&queue))
                .map_err(|error| HsmError::Thread(error.to_string()))?;
            crew.at_work.push(Member { thread, desk });
        }
        Ok(())
    }
}

impl Drop for Pool {
    /// Workers end when the queue does; one that hangs in the module is not waited for.
    fn drop(&mut self) {
        self.core.closing.store(true, Ordering::Release);
        let (nobody, _) = bounded(1);
        self.orders = Arc::new(nobody);
        let crew = std::mem::take(&mut *lock(&self.crew));
        let patience = Instant::now() + CLOSE_WAIT;
        for member in crew.at_work {
            while !member.thread.is_finished() && Instant::now() < patience {
                std::thread::sleep(NAP);
            }
        }
    }
}

impl Core {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    pub(super) fn until(&self, deadline: Instant) -> u64 {
        let left = deadline.saturating_duration_since(Instant::now());
        self.now() + u64::try_from(left.as_millis()).unwrap_or(0) + 1
    }
}

impl Order {
    /// The function of the module a caller waits for most, to name in an error.
    pub(super) const fn function(&self) -> &'static str {
        match self {
            Self::Start => "C_Login",
            Self::Wrap(..) | Self::Rewrap(..) => "C_WrapKey",
            Self::Unwrap(..) | Self::Health => "C_UnwrapKey",
            Self::Random => "C_GenerateRandom",
        }
    }
}

pub(super) fn too_late(token: &Token, function: &'static str) -> HsmError {
    HsmError::TimedOut {
        place: token.place.clone(),
        function,
    }
}

const MAX_SESSIONS: usize = 256;
/// Jobs that may wait per session; more callers than that wait to enter the queue.
const QUEUE_PER_SESSION: usize = 16;
/// Threads that may hang in the module before it is left alone until one returns.
const MAX_LOST: usize = 16;
/// After so many unanswered calls and no answer, callers are no longer made to wait.
const TIMEOUTS_IN_A_ROW: u64 = 5;
/// The first login may take this many deadlines: it finds, examines and asks every key.
const START_DEADLINES: u32 = 5;
const NAP: Duration = Duration::from_millis(20);
const CLOSE_WAIT: Duration = Duration::from_secs(1);
