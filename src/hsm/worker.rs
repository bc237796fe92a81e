//! The threads that call the module: one session each, one bounded queue before all of them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use cryptoki_sys as ck;

use super::breaker::{Admission, Breaker};
use super::class::{Class, class};
use super::error::{CallError, HsmError};
use super::key;
use super::life::{Life, Need, Token, lock, logged_in};
use super::module::{Object, Session};
use super::operation::{Fault, Hands};
use super::probe;
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

struct Core {
    token: Arc<Token>,
    breaker: Breaker,
    /// For a worker that finds no session to hand its job to one that has; empty once nobody asks.
    orders: Weak<Sender<Job>>,
    closing: AtomicBool,
    started: Instant,
    hung: AtomicU64,
    /// Callers that left at their deadline since the last answer.
    timeouts: AtomicU64,
    /// Sessions of all workers.
    sessions: AtomicUsize,
}

struct Job {
    order: Order,
    admission: Admission,
    deadline: Instant,
    reply: Sender<Result<Answer, HsmError>>,
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
struct Desk {
    /// When its job must be done, in milliseconds since the start, plus one; 0 without a job.
    busy_until: AtomicU64,
    given_up: AtomicBool,
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
            let worker = Worker {
                core: Arc::clone(&self.core),
                desk: Arc::clone(&desk),
                session: None,
            };
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

    fn until(&self, deadline: Instant) -> u64 {
        let left = deadline.saturating_duration_since(Instant::now());
        self.now() + u64::try_from(left.as_millis()).unwrap_or(0) + 1
    }
}

impl Order {
    /// The function of the module a caller waits for most, to name in an error.
    const fn function(&self) -> &'static str {
        match self {
            Self::Start => "C_Login",
            Self::Wrap(..) | Self::Rewrap(..) => "C_WrapKey",
            Self::Unwrap(..) | Self::Health => "C_UnwrapKey",
            Self::Random => "C_GenerateRandom",
        }
    }
}

struct Worker {
    core: Arc<Core>,
    desk: Arc<Desk>,
    session: Option<OwnSession>,
}

#[derive(Clone, Copy)]
struct OwnSession {
    handle: Session,
    generation: u64,
}

/// Why one try failed.
enum Setback {
    Fault(Fault),
    /// The version is not in this life.
    Missing(u32),
    /// The keys in the token are not this life's.
    Stale,
    /// Somebody began anew meanwhile.
    Outlived,
    /// The deadline passed before the module was entered.
    TooLate,
}

impl<E: Into<Fault>> From<E> for Setback {
    fn from(fault: E) -> Self {
        Self::Fault(fault.into())
    }
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        while !self.core.closing.load(Ordering::Acquire) {
            // To open a session is a call into the module, too, and may hang like any other.
            let patience = self.core.token.config.deadline;
            self.busy_until(Instant::now() + patience);
            let ready = self.prepare();
            self.desk.busy_until.store(0, Ordering::Release);
            if self.desk.given_up.load(Ordering::Acquire) {
                break;
            }
            if !ready {
                std::thread::sleep(NAP);
                continue;
            }
            let Ok(job) = queue.recv() else { break };
            if Instant::now() >= job.deadline {
                continue;
            }
            self.busy_until(job.deadline);
            self.serve(job);
            self.desk.busy_until.store(0, Ordering::Release);
            if self.desk.given_up.load(Ordering::Acquire) {
                break;
            }
        }
    }

    fn busy_until(&self, deadline: Instant) {
        let until = self.core.until(deadline);
        self.desk.busy_until.store(until, Ordering::Release);
    }

    /// Whether it may take a job: not while it has no session and the token gives no more of them
    /// but other workers have one.
    fn prepare(&mut self) -> bool {
        let token = Arc::clone(&self.core.token);
        let Some(life) = token.life() else {
            return true;
        };
        let Some(_inside) = token
            .module
            .gate
            .enter(Instant::now() + token.config.deadline)
        else {
            return true;
        };
        match self.session(&life) {
            Err(Setback::Fault(Fault::Call { error, .. }))
                if error.code == ck::CKR_SESSION_COUNT =>
            {
                !self.others_have_sessions()
            }
            _ => true,
        }
    }

    fn serve(&mut self, mut job: Job) {
        let outcome = self.perform(&job);
        if let Err(HsmError::Call {
            code: ck::CKR_SESSION_COUNT,
            ..
        }) = &outcome
            && self.session.is_none()
            && self.others_have_sessions()
            && let Some(orders) = self.core.orders.upgrade()
        {
            match orders.try_send(job) {
                Ok(()) => return,
                Err(refused) => job = refused.into_inner(),
            }
        }
        match &outcome {
            Ok(_) | Err(HsmError::Rejected { .. } | HsmError::KeyMissing { .. }) => {
                self.core.timeouts.store(0, Ordering::Relaxed);
                self.core.breaker.shut();
            }
            Err(error) if job.admission == Admission::Trial => {
                self.core.breaker.trip(error.clone());
            }
            Err(_) => {}
        }
        // Nobody waits any more if the deadline passed; then a secret is wiped here.
        let _ = job.reply.send(outcome);
    }

    fn perform(&mut self, job: &Job) -> Result<Answer, HsmError> {
        let core = Arc::clone(&self.core);
        let token = &*core.token;
        let mut last = CallError {
            function: job.order.function(),
            code: 0,
        };
        let mut vague = 0;
        let mut begun_anew = false;
        for round in 0..MAX_ROUNDS {
            if Instant::now() >= job.deadline {
                return Err(too_late(token, last.function));
            }
            let Some(life) = token.life() else {
                self.recover(Need::Login, None, job)?;
                continue;
            };
            let (error, blob) = match self.attempt(&life, job) {
                Ok(answer) => return Ok(answer),
                Err(Setback::Fault(Fault::Call { error, blob })) => (error, blob),
                Err(Setback::Fault(Fault::Other(error))) => return Err(error),
                Err(Setback::Outlived) => continue,
                Err(Setback::TooLate) => return Err(too_late(token, last.function)),
                Err(Setback::Stale) => {
                    self.recover(Need::Login, Some(&life), job)?;
                    continue;
                }
                Err(Setback::Missing(version)) => {
                    if token.may_look_again() {
                        self.recover(Need::Login, Some(&life), job)?;
                        continue;
                    }
                    return Err(HsmError::KeyMissing {
                        place: token.place.clone(),
                        key: key::name(&token.config, version),
                        version,
                    });
                }
            };
            last = error;
            match class(error.code) {
                Class::Session => self.forget_session(),
                Class::Login => self.recover(Need::Login, Some(&life), job)?,
                Class::Module => self.recover(Need::Module, Some(&life), job)?,
                Class::Busy
                    if error.code == ck::CKR_SESSION_COUNT
                        && self.session.is_none()
                        && self.others_have_sessions() =>
                {
                    return Err(error.at(&token.place));
                }
                Class::Busy => std::thread::sleep(BUSY_PAUSE * (round + 1)),
                Class::Pin | Class::Never => return Err(error.at(&token.place)),
                Class::Vague => match self.sees_login(&life, job.deadline) {
                    None => self.forget_session(),
                    Some(false) => self.recover(Need::Login, Some(&life), job)?,
                    Some(true) if vague < 2 => vague += 1,
                    Some(true) if self.is_healthy(&life, &job.order, job.deadline) => {
                        return Err(if blob {
                            HsmError::Rejected {
                                place: token.place.clone(),
                            }
                        } else {
                            error.at(&token.place)
                        });
                    }
                    Some(true) if begun_anew => break,
                    Some(true) => {
                        self.recover(Need::Module, Some(&life), job)?;
                        begun_anew = true;
                        vague = 0;
                    }
                },
            }
        }
        let error = last.at(&token.place);
        if class(last.code) != Class::Busy {
            core.breaker.trip(error.clone());
        }
        Err(error)
    }

    /// One try, inside the module.
    fn attempt(&mut self, life: &Life, job: &Job) -> Result<Answer, Setback> {
        let core = Arc::clone(&self.core);
        let token = &*core.token;
        let _inside = token
            .module
            .gate
            .enter(job.deadline)
            .ok_or(Setback::TooLate)?;
        let session = self.session(life)?;
        let hands = Hands::new(&token.module, session, token.mechanism());
        let key = |version: u32| -> Result<Object, Setback> {
            life.keys
                .get(&version)
                .copied()
                .ok_or(Setback::Missing(version))
        };
        let answer = match &job.order {
            Order::Start => Ok(Answer::Done),
            Order::Wrap(version, secret) => hands.wrap(key(*version)?, secret).map(Answer::Blob),
            Order::Unwrap(version, blob) => hands.unwrap(key(*version)?, blob).map(Answer::Secret),
            Order::Rewrap(from, to, blob) => {
                hands.rewrap(key(*from)?, key(*to)?, blob).map(Answer::Blob)
            }
            Order::Random => hands.random().map(Answer::Secret),
            Order::Health => {
                let found = key::find(&token.module, session, &token.config, &token.place)?;
                if !found
                    .iter()
                    .map(|(version, key)| (version, &key.object))
                    .eq(&life.keys)
                {
                    return Err(Setback::Stale);
                }
                ask_all(&hands, token, life).map(|()| Answer::Done)
            }
        };
        if hands.unclean.get() {
            self.close_session_inside();
        }
        Ok(answer?)
    }

    /// Its session of this life, opened if need be. The caller is inside the module.
    fn session(&mut self, life: &Life) -> Result<Session, Setback> {
        let core = Arc::clone(&self.core);
        let module = &*core.token.module;
        if module.generation() != life.generation {
            return Err(Setback::Outlived);
        }
        match self.session {
            Some(session) if session.generation == life.generation => Ok(session.handle),
            stale => {
                // The number of a session from before may be another's by now: it is not closed.
                if stale.is_some() {
                    self.forget_session();
                }
                let handle = module.open_session(life.slot)?;
                core.sessions.fetch_add(1, Ordering::Relaxed);
                self.session = Some(OwnSession {
                    handle,
                    generation: life.generation,
                });
                Ok(handle)
            }
        }
    }

    /// Begins a new life; failing that, the breaker opens.
    fn recover(&mut self, need: Need, seen: Option<&Life>, job: &Job) -> Result<(), HsmError> {
        let token = &self.core.token;
        // Others may have tried and failed while this one waited for its turn.
        if job.admission == Admission::Normal
            && let Some(reason) = self.core.breaker.reason()
        {
            return Err(reason);
        }
        let seen = seen.map_or(0, |life| life.epoch);
        token
            .recover(need, seen, job.deadline, token.config.deadline)
            .inspect_err(|error| {
                self.core.breaker.trip(error.clone());
            })
    }

    /// Whether the session is logged in; `None` if there is no telling.
    fn sees_login(&self, life: &Life, deadline: Instant) -> Option<bool> {
        let module = &*self.core.token.module;
        let _inside = module.gate.enter(deadline)?;
        let session = self
            .session
            .filter(|_| module.generation() == life.generation)?;
        logged_in(module, session.handle).ok()
    }

    /// Whether a key of this order still gives the known answer, in this very session.
    fn is_healthy(&mut self, life: &Life, order: &Order, deadline: Instant) -> bool {
        let core = Arc::clone(&self.core);
        let token = &*core.token;
        let version = match order {
            Order::Wrap(version, _) | Order::Unwrap(version, _) | Order::Rewrap(version, ..) => {
                Some(*version)
            }
            Order::Start | Order::Random | Order::Health => life.keys.keys().next_back().copied(),
        };
        let Some((key, answer)) =
            version.and_then(|version| Some((*life.keys.get(&version)?, token.answer(version)?)))
        else {
            return false;
        };
        let Some(_inside) = token.module.gate.enter(deadline) else {
            return false;
        };
        let Ok(session) = self.session(life) else {
            return false;
        };
        let hands = Hands::new(&token.module, session, token.mechanism());
        let healthy = (0..3).any(|_| probe::check(&hands, key, &answer).is_ok());
        if hands.unclean.get() {
            self.close_session_inside();
        }
        healthy
    }

    fn others_have_sessions(&self) -> bool {
        let own = usize::from(self.session.is_some());
        self.core.sessions.load(Ordering::Relaxed) > own
    }

    /// Closes the session while inside the module, with every object in it.
    fn close_session_inside(&mut self) {
        if let Some(session) = self.session
            && session.generation == self.core.token.module.generation()
        {
            // It is given up whatever the module answers.
            let _ = self.core.token.module.close_session(session.handle);
        }
        self.forget_session();
    }

    fn forget_session(&mut self) {
        if self.session.take().is_some() {
            self.core.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let core = Arc::clone(&self.core);
        if let Some(_inside) = core.token.module.gate.enter(Instant::now() + CLOSE_WAIT) {
            self.close_session_inside();
        }
    }
}

fn ask_all(hands: &Hands<'_>, token: &Token, life: &Life) -> Result<(), Fault> {
    for (version, key) in &life.keys {
        if let Some(answer) = token.answer(*version) {
            probe::check(hands, *key, &answer)?;
        }
    }
    Ok(())
}

fn too_late(token: &Token, function: &'static str) -> HsmError {
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
const MAX_ROUNDS: u32 = 12;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
const NAP: Duration = Duration::from_millis(20);
const CLOSE_WAIT: Duration = Duration::from_secs(1);
